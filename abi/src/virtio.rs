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
