// SPDX-License-Identifier: MIT OR Apache-2.0
//! A multiboot kernel as QEMU offers it: one blob, and a `multiboot_info` that is not yet full.

use abi::fw_cfg::Key;
use abi::multiboot::{Info, InfoFlags, Module};
use vmm::devices::fw_cfg::Items;
use zerocopy::{FromZeros, IntoBytes};

const PAGE: usize = 0x1000;

/// The items of one kernel, open to every lie before they are offered.
#[derive(Clone, Debug)]
pub struct Multiboot {
    /// Guest-physical address of the blob.
    pub addr: u32,
    /// The kernel, the module list, the strings and the modules, each part on pages of its own.
    pub blob: Vec<u8>,
    /// Guest-physical entry point.
    pub entry: u32,
    /// What the VMM says of them.
    pub info: Info,
    /// Size in bytes of the list and the strings in front of the modules.
    pub extras: usize,
}

impl Multiboot {
    /// Lays out a kernel for `addr` that is entered at its first byte.
    ///
    /// # Panics
    /// It reaches past 4 GiB.
    #[must_use]
    pub fn new(addr: u32, kernel: &[u8], cmdline: &str, modules: &[(&str, &[u8])]) -> Self {
        let at = |offset: usize| addr.checked_add(u32::try_from(offset).unwrap()).unwrap();
        let mut blob = kernel.to_vec();
        blob.resize(kernel.len().next_multiple_of(PAGE), 0);
        let list = blob.len();
        blob.resize(list + modules.len() * size_of::<Module>(), 0);
        let mut string = |text: &str| {
            let offset = blob.len();
            blob.extend_from_slice(text.as_bytes());
            blob.push(0);
            at(offset)
        };
        let strings: Vec<_> = modules.iter().map(|(text, _)| string(text)).collect();
        let cmdline = string(cmdline);
        let name = string("qemu");
        let extras = blob.len() - list;
        // What is left of the page is whatever the VMM's memory held.
        blob.resize(blob.len().next_multiple_of(PAGE), 0xa5);
        for (index, (text, (_, bytes))) in strings.iter().zip(modules).enumerate() {
            let start = blob.len();
            blob.extend_from_slice(bytes);
            let module = Module {
                mod_start: at(start).into(),
                mod_end: at(blob.len()).into(),
                string: (*text).into(),
                reserved: 0.into(),
            };
            blob[list + index * size_of::<Module>()..][..size_of::<Module>()]
                .copy_from_slice(module.as_bytes());
            blob.resize(blob.len().next_multiple_of(PAGE), 0xa5);
        }
        let mut info = Info::new_zeroed();
        let flags = InfoFlags::MEMORY
            | InfoFlags::BOOT_DEVICE
            | InfoFlags::CMDLINE
            | InfoFlags::MODULES
            | InfoFlags::MEMORY_MAP
            | InfoFlags::LOADER_NAME;
        info.flags = flags.bits().into();
        info.boot_device = 0x8000_ffff.into();
        info.cmdline = cmdline.into();
        info.boot_loader_name = name.into();
        info.mods_addr = at(list).into();
        info.mods_count = u32::try_from(modules.len()).unwrap().into();
        info.mmap_addr = 0x9000.into();
        Self {
            addr,
            blob,
            entry: addr,
            info,
            extras,
        }
    }

    /// Puts the items beside the others of the machine.
    ///
    /// # Panics
    /// The blob is larger than 4 GiB.
    #[must_use]
    pub fn offered(&self, mut items: Items) -> Items {
        let mut number = |key, value: u32| items.set(key, value.to_le_bytes().to_vec());
        number(Key::KERNEL_ADDR, self.addr);
        number(Key::KERNEL_ENTRY, self.entry);
        number(Key::KERNEL_SIZE, u32::try_from(self.blob.len()).unwrap());
        number(Key::INITRD_ADDR, 0x9500);
        number(Key::INITRD_SIZE, u32::try_from(size_of::<Info>()).unwrap());
        items.set(Key::KERNEL_DATA, self.blob.clone());
        items.set(Key::INITRD_DATA, self.info.as_bytes().to_vec());
        items
    }

    /// The record of a module, to be changed.
    ///
    /// # Panics
    /// There is no such module.
    pub fn edit_module(&mut self, index: usize, edit: impl FnOnce(&mut Module)) {
        let list = (self.info.mods_addr.get() - self.addr) as usize;
        let at = list + index * size_of::<Module>();
        let (module, _) = zerocopy::FromBytes::mut_from_prefix(&mut self.blob[at..]).unwrap();
        edit(module);
    }
}
