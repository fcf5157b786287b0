// SPDX-License-Identifier: MIT OR Apache-2.0
//! What virtio devices and their drivers exchange.
//!
//! Spec: Virtual I/O Device (VIRTIO) version 1.2. Little-endian throughout.

/// The block device (section 5.2).
pub mod blk {
    use zerocopy::little_endian::{U16, U32, U64};
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    /// Device ID.
    pub const DEVICE_ID: u32 = 2;
    /// Bytes of a sector, in which the device counts whatever its block size is.
    pub const SECTOR_SIZE: u64 = 512;
    /// Bytes of a serial number (section 5.2.6).
    pub const ID_BYTES: usize = 20;

    /// Feature `VIRTIO_BLK_F_SEG_MAX`: `seg_max` is valid.
    pub const F_SEG_MAX: u64 = 1 << 2;
    /// Feature `VIRTIO_BLK_F_RO`: the device is read-only.
    pub const F_RO: u64 = 1 << 5;
    /// Feature `VIRTIO_BLK_F_BLK_SIZE`: `blk_size` is valid.
    pub const F_BLK_SIZE: u64 = 1 << 6;
    /// Feature `VIRTIO_BLK_F_FLUSH`: there is a flush command.
    pub const F_FLUSH: u64 = 1 << 9;
    /// Feature `VIRTIO_BLK_F_CONFIG_WCE`: `writeback` chooses the cache's mode.
    pub const F_CONFIG_WCE: u64 = 1 << 11;
    /// Feature `VIRTIO_BLK_F_MQ`: `num_queues` is valid.
    pub const F_MQ: u64 = 1 << 12;
    /// Feature `VIRTIO_BLK_F_DISCARD`: there is a discard command.
    pub const F_DISCARD: u64 = 1 << 13;
    /// Feature `VIRTIO_BLK_F_WRITE_ZEROES`: there is a write zeroes command.
    pub const F_WRITE_ZEROES: u64 = 1 << 14;

    /// Request `VIRTIO_BLK_T_IN`: read.
    pub const T_IN: u32 = 0;
    /// Request `VIRTIO_BLK_T_OUT`: write.
    pub const T_OUT: u32 = 1;
    /// Request `VIRTIO_BLK_T_FLUSH`: what was written is to be stable.
    pub const T_FLUSH: u32 = 4;
    /// Request `VIRTIO_BLK_T_GET_ID`: the serial number.
    pub const T_GET_ID: u32 = 8;
    /// Request `VIRTIO_BLK_T_DISCARD`: [`Segment`]s are not needed any more.
    pub const T_DISCARD: u32 = 11;
    /// Request `VIRTIO_BLK_T_WRITE_ZEROES`: [`Segment`]s are to be zero.
    pub const T_WRITE_ZEROES: u32 = 13;

    /// Status `VIRTIO_BLK_S_OK`.
    pub const S_OK: u8 = 0;
    /// Status `VIRTIO_BLK_S_IOERR`: device or driver error.
    pub const S_IOERR: u8 = 1;
    /// Status `VIRTIO_BLK_S_UNSUPP`: the device does not know the request.
    pub const S_UNSUPP: u8 = 2;

    /// Flag of a [`Segment`]: `unmap`, the device may give the space back.
    pub const SEGMENT_UNMAP: u32 = 1 << 0;

    /// What a request (`struct virtio_blk_req`) begins with.
    #[derive(
        Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default,
    )]
    #[repr(C)]
    pub struct Header {
        /// One of the `T_` values.
        pub kind: U32,
        /// Zero.
        pub reserved: U32,
        /// The first sector, for a read or write.
        pub sector: U64,
    }

    const _: () = assert!(size_of::<Header>() == 16);

    /// A part of the disk to discard or zero (`struct virtio_blk_discard_write_zeroes`).
    #[derive(
        Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default,
    )]
    #[repr(C)]
    pub struct Segment {
        /// The first sector.
        pub sector: U64,
        /// How many.
        pub num_sectors: U32,
        /// [`SEGMENT_UNMAP`]; the other bits are zero.
        pub flags: U32,
    }

    const _: () = assert!(size_of::<Segment>() == 16);

    /// The configuration (`struct virtio_blk_config`) up to what secure erase would add.
    #[derive(
        Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default,
    )]
    #[repr(C)]
    pub struct Config {
        /// Sectors.
        pub capacity: U64,
        /// Most bytes of a segment.
        pub size_max: U32,
        /// Most segments of a request.
        pub seg_max: U32,
        /// Cylinders.
        pub cylinders: U16,
        /// Heads.
        pub heads: u8,
        /// Sectors of a track.
        pub track_sectors: u8,
        /// Bytes of a logical block.
        pub blk_size: U32,
        /// Logical blocks of a physical block, as a power of two.
        pub physical_block_exp: u8,
        /// Offset of the first aligned logical block.
        pub alignment_offset: u8,
        /// Suggested least I/O size in logical blocks.
        pub min_io_size: U16,
        /// Suggested best I/O size in logical blocks.
        pub opt_io_size: U32,
        /// 1: writes become stable by a flush; 0: when they are complete.
        pub writeback: u8,
        /// Zero.
        pub unused0: u8,
        /// Queues.
        pub num_queues: U16,
        /// Most sectors of a discard segment.
        pub max_discard_sectors: U32,
        /// Most segments of a discard.
        pub max_discard_seg: U32,
        /// Alignment of discards in sectors.
        pub discard_sector_alignment: U32,
        /// Most sectors of a write zeroes segment.
        pub max_write_zeroes_sectors: U32,
        /// Most segments of a write zeroes.
        pub max_write_zeroes_seg: U32,
        /// Whether write zeroes may give space back.
        pub write_zeroes_may_unmap: u8,
        /// Zero.
        pub unused1: [u8; 3],
    }

    const _: () = assert!(size_of::<Config>() == 60);
    const _: () = assert!(core::mem::offset_of!(Config, writeback) == 32);
}

/// The network device (section 5.1).
pub mod net {
    use zerocopy::little_endian::U16;
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    /// Device ID.
    pub const DEVICE_ID: u32 = 1;

    /// Feature `VIRTIO_NET_F_CSUM`: the device completes checksums.
    pub const F_CSUM: u64 = 1 << 0;
    /// Feature `VIRTIO_NET_F_GUEST_CSUM`: the driver takes frames with incomplete checksums.
    pub const F_GUEST_CSUM: u64 = 1 << 1;
    /// Feature `VIRTIO_NET_F_MAC`: `mac` is valid.
    pub const F_MAC: u64 = 1 << 5;
    /// Feature `VIRTIO_NET_F_GUEST_TSO4`: the driver takes large TCP segments in IPv4.
    pub const F_GUEST_TSO4: u64 = 1 << 7;
    /// Feature `VIRTIO_NET_F_GUEST_TSO6`: the driver takes large TCP segments in IPv6.
    pub const F_GUEST_TSO6: u64 = 1 << 8;
    /// Feature `VIRTIO_NET_F_GUEST_ECN`: those of the driver may have ECN.
    pub const F_GUEST_ECN: u64 = 1 << 9;
    /// Feature `VIRTIO_NET_F_HOST_TSO4`: the device takes large TCP segments in IPv4.
    pub const F_HOST_TSO4: u64 = 1 << 11;
    /// Feature `VIRTIO_NET_F_HOST_TSO6`: the device takes large TCP segments in IPv6.
    pub const F_HOST_TSO6: u64 = 1 << 12;
    /// Feature `VIRTIO_NET_F_HOST_ECN`: those of the device may have ECN.
    pub const F_HOST_ECN: u64 = 1 << 13;
    /// Feature `VIRTIO_NET_F_MRG_RXBUF`: a received frame may fill several buffers.
    pub const F_MRG_RXBUF: u64 = 1 << 15;
    /// Feature `VIRTIO_NET_F_STATUS`: `status` is valid.
    pub const F_STATUS: u64 = 1 << 16;
    /// Feature `VIRTIO_NET_F_CTRL_VQ`: there is a control queue.
    pub const F_CTRL_VQ: u64 = 1 << 17;
    /// Feature `VIRTIO_NET_F_MQ`: `max_virtqueue_pairs` is valid.
    pub const F_MQ: u64 = 1 << 22;

    /// Status `VIRTIO_NET_S_LINK_UP`.
    pub const S_LINK_UP: u16 = 1 << 0;

    /// Flag `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum is incomplete.
    pub const HDR_F_NEEDS_CSUM: u8 = 1 << 0;
    /// Value `VIRTIO_NET_HDR_GSO_NONE`: an ordinary frame.
    pub const HDR_GSO_NONE: u8 = 0;
    /// Value `VIRTIO_NET_HDR_GSO_TCPV4`: a large TCP segment in IPv4.
    pub const HDR_GSO_TCPV4: u8 = 1;
    /// Value `VIRTIO_NET_HDR_GSO_TCPV6`: a large TCP segment in IPv6.
    pub const HDR_GSO_TCPV6: u8 = 4;
    /// Bit `VIRTIO_NET_HDR_GSO_ECN` beside one of these values: the segment has ECN.
    pub const HDR_GSO_ECN: u8 = 0x80;

    /// Class `VIRTIO_NET_CTRL_MQ` of commands.
    pub const CTRL_MQ: u8 = 4;
    /// Command `VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET`: how many queue pairs the driver uses.
    pub const CTRL_MQ_VQ_PAIRS_SET: u8 = 0;
    /// Answer `VIRTIO_NET_OK`.
    pub const OK: u8 = 0;
    /// Answer `VIRTIO_NET_ERR`.
    pub const ERR: u8 = 1;

    /// What every frame begins with in a queue (`struct virtio_net_hdr`).
    #[derive(
        Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default,
    )]
    #[repr(C)]
    pub struct Header {
        /// [`HDR_F_NEEDS_CSUM`] and others.
        pub flags: u8,
        /// One of the `HDR_GSO_` values.
        pub gso_type: u8,
        /// Bytes of the headers of a large segment.
        pub hdr_len: U16,
        /// Bytes of the pieces to cut it into.
        pub gso_size: U16,
        /// Where the checksum begins to count.
        pub csum_start: U16,
        /// Where it goes, from there on.
        pub csum_offset: U16,
        /// Buffers that a received frame fills. The header of a legacy driver ends before this
        /// unless [`F_MRG_RXBUF`] is agreed to (section 5.1.6.1).
        pub num_buffers: U16,
    }

    const _: () = assert!(size_of::<Header>() == 12);
    const _: () = assert!(core::mem::offset_of!(Header, num_buffers) == 10);

    /// The configuration (`struct virtio_net_config`) up to what an MTU would add.
    #[derive(
        Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default,
    )]
    #[repr(C)]
    pub struct Config {
        /// The address of the station.
        pub mac: [u8; 6],
        /// [`S_LINK_UP`], or not.
        pub status: U16,
        /// Most queue pairs.
        pub max_virtqueue_pairs: U16,
    }

    const _: () = assert!(size_of::<Config>() == 10);

    /// What a control command begins with (`struct virtio_net_ctrl`).
    #[derive(
        Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default,
    )]
    #[repr(C)]
    pub struct Command {
        /// [`CTRL_MQ`] or another.
        pub class: u8,
        /// What is to be done.
        pub command: u8,
    }

    const _: () = assert!(size_of::<Command>() == 2);
}

/// The console device (section 5.3).
pub mod console {
    use zerocopy::little_endian::{U16, U32};
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    /// Device ID.
    pub const DEVICE_ID: u32 = 3;
    /// Queue `receiveq` of the only port: to the driver.
    pub const RECEIVE: usize = 0;
    /// Queue `transmitq` of the only port: from the driver.
    pub const TRANSMIT: usize = 1;

    /// Feature `VIRTIO_CONSOLE_F_SIZE`: `cols` and `rows` are valid.
    pub const F_SIZE: u64 = 1 << 0;

    /// The configuration (`struct virtio_console_config`).
    #[derive(
        Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default,
    )]
    #[repr(C)]
    pub struct Config {
        /// Columns of characters.
        pub cols: U16,
        /// Rows of characters.
        pub rows: U16,
        /// Most ports, where there are several.
        pub max_nr_ports: U32,
        /// A character to print without a queue, where there is emergency write.
        pub emerg_wr: U32,
    }

    const _: () = assert!(size_of::<Config>() == 12);
}
