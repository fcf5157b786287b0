// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line. The only file that knows `clap`.
//!
//! Option names follow QEMU's, with two dashes. Values are read by [`crate::config`]; wrong usage
//! ends the process with status 2, as [`crate::status::Status::Refused`].

use crate::config::{self, CONSOLE, Config, DEBUGCON, SERIAL};
use crate::description::Format;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// File name of the firmware that is expected next to the executable.
const DEFAULT_BIOS: &str = "qboot-rs.rom";

/// What stands for no firmware; a file of that name has a path.
const NO_BIOS: &str = "none";

const AFTER_HELP: &str = "\
Keys (where standard input is a terminal and leads to COM1 or a console):
  Ctrl-a x       end the machine
  Ctrl-a Ctrl-a  send Ctrl-a (also Ctrl-a a)

Exit status:
  0      the guest ended: power-off, or reset without --reboot; or Ctrl-a x
  1      input or output failed on the host
  2      wrong usage, or a kernel, initrd or firmware image that was refused
  3      the firmware reported a failure
  4      no usable KVM
  5      KVM could not go on running the guest
  6      the guest's kernel panicked (with --machine pvpanic=on)
  128+n  ended by signal n; 159: a thread asked the host for something that it may not (--seccomp)

SIGTERM presses the power button where the guest listens to it; a second one ends the run.";

/// A KVM monitor modelled on QEMU's microvm machine.
#[derive(Debug, Parser)]
#[command(name = "microvm", version, after_help = AFTER_HELP)]
struct Cli {
    /// Kernel to boot: a bzImage, an ELF with a PVH entry point, or a multiboot kernel
    #[arg(long, short_alias = 'k', value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk; of a multiboot kernel its modules with their arguments, between commas
    #[arg(long, value_name = "FILE|FILE[ ARGUMENTS],...")]
    initrd: Option<PathBuf>,
    /// Kernel command line
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    append: String,
    /// RAM: a number of MiB, or one with the suffix K, M, G or T; and what it is made of, each on or
    /// off (the default): hugepages (2 MiB pages that the host keeps), shared (a memory file),
    /// prefault (all of it before the guest starts) and thp (transparent huge pages)
    #[arg(
        long,
        short,
        value_name = "SIZE|size=SIZE[,hugepages=on][,shared=on][,prefault=on][,thp=on]",
        default_value = "128M"
    )]
    memory: String,
    /// Number of processors, 1 to 255
    #[arg(long, value_name = "N", default_value = "1")]
    cpus: String,
    /// Firmware image, or none: then the monitor enters the kernel itself, for comparison [default:
    /// qboot-rs.rom next to this program]
    #[arg(long, value_name = "FILE|none")]
    bios: Option<PathBuf>,
    /// What the machine has: acpi, auto-kernel-cmdline, force-legacy, ioapic2, pic, pit, rtc,
    /// isa-serial, pvpanic and x-option-roms, each on, off or auto; and irqchip, split (the default)
    /// or kernel
    #[arg(long, short_alias = 'M', value_name = "KEY=VALUE,...")]
    machine: Vec<String>,
    /// Add a virtio block device made of a raw image, which is written unless it is readonly; may
    /// be repeated
    #[arg(
        long,
        value_name = "path=FILE[,readonly=on][,direct=on][,aio=auto|io_uring|threads][,serial=TEXT][,queues=N][,bootindex=N]"
    )]
    disk: Vec<String>,
    /// Add a virtio network device behind a tap interface of the host; may be repeated
    #[arg(long, value_name = "tap=NAME[,mac=XX:XX:XX:XX:XX:XX][,queues=N]")]
    net: Vec<String>,
    /// Add a virtio entropy device, which gives the guest random bytes of the host's
    #[arg(long)]
    rng: bool,
    /// COM1: stdio, none, pty (whose path is told), file:PATH or unix:PATH (a socket to connect to)
    /// [default: stdio]
    #[arg(long, value_name = "TARGET")]
    serial: Option<String>,
    /// Add a virtio console, hvc0 and so on, that leads to one of the same; may be repeated
    /// [default: stdio where there is no COM1, else no console]
    #[arg(long, value_name = "TARGET")]
    console: Vec<String>,
    /// Add a debug console at port 0x402, where firmware prints its log, that leads to one of the
    /// same [default: none, and no such port]
    #[arg(
        long,
        value_name = "TARGET",
        default_value = "none",
        hide_default_value = true
    )]
    debugcon: String,
    /// End the run when the guest resets (the default)
    #[arg(long, overrides_with = "reboot")]
    no_reboot: bool,
    /// Stay, with the processors stopped, when the guest turns the machine off, resets it without
    /// --reboot, or panics; a signal or Ctrl-a x then ends the run
    #[arg(long)]
    no_shutdown: bool,
    /// Boot again when the guest resets
    #[arg(long, overrides_with = "no_reboot")]
    reboot: bool,
    /// Add a fw_cfg file: name=NAME,string=TEXT or name=NAME,file=PATH
    #[arg(long, value_name = "FILE")]
    fw_cfg: Vec<String>,
    /// Add an option ROM, which SeaBIOS runs, with its place in the boot order; may be repeated
    #[arg(long, value_name = "path=FILE[,bootindex=N]")]
    option_rom: Vec<String>,
    /// What the machine says it is, as SMBIOS structures, of which there are none without this: strings
    /// for the system, or OEM strings; may be repeated
    #[arg(
        long,
        value_name = "type=1[,manufacturer=TEXT][,product=TEXT][,version=TEXT][,serial=TEXT][,uuid=UUID][,sku=TEXT][,family=TEXT]|type=11,value=TEXT[,...]"
    )]
    smbios: Vec<String>,
    /// Offer the DMA interface of fw_cfg
    #[arg(
        long,
        value_name = "on|off",
        default_value = "on",
        hide_possible_values = true
    )]
    fw_cfg_dma: Switch,
    /// Ask the firmware to mark when it enters the kernel
    #[arg(
        long,
        value_name = "on|off",
        default_value = "on",
        hide_possible_values = true
    )]
    trace: Switch,
    /// Give up what the process does not need before the guest begins: no new privileges, and a seccomp
    /// filter for each thread. A denied call is named and ends the process
    #[arg(
        long,
        value_name = "on|off",
        default_value = "on",
        hide_possible_values = true
    )]
    seccomp: Switch,
    /// Write what the run has cost to a file, as JSON: when the firmware, the kernel and init began, and
    /// every access from reset to kernel entry
    #[arg(long, value_name = "FILE")]
    measure: Option<PathBuf>,
    /// With --measure: count the instructions from reset to kernel entry, by stopping after each
    #[arg(
        long,
        value_name = "on|off",
        default_value = "off",
        hide_possible_values = true
    )]
    single_step: Switch,
    /// Say what the machine of the other options is made of (memory, ports, interrupts and fw_cfg
    /// items) instead of running it
    #[arg(
        long,
        value_name = "text|json",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        hide_possible_values = true
    )]
    print_machine: Option<Written>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Written {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Reads the process's arguments: a machine, and how to describe it if it is not to be run. Ends the process if they ask for help or name no option of
/// ours; values that make no sense are an error for the caller to report.
pub fn parse() -> Result<(Config, Option<Format>), config::Error> {
    let cli = Cli::parse();
    let print = cli.print_machine.map(|written| match written {
        Written::Text => Format::Text,
        Written::Json => Format::Json,
    });
    Ok((into_config(cli)?, print))
}

fn into_config(cli: Cli) -> Result<Config, config::Error> {
    let machine = config::parse_machine(cli.machine.iter().map(String::as_str))?;
    let serial = cli.serial.map(|text| config::parse_target(SERIAL, &text));
    let consoles = cli.console.iter();
    let consoles = consoles.map(|text| config::parse_target(CONSOLE, text));
    let consoles = consoles.collect::<Result<_, _>>()?;
    let debugcon = config::parse_target(DEBUGCON, &cli.debugcon)?;
    let (serial, consoles) = config::far_ends(&machine, serial.transpose()?, consoles, &debugcon);
    Ok(Config {
        kernel: cli.kernel,
        initrd: cli.initrd,
        append: cli.append,
        memory: config::parse_memory(&cli.memory)?,
        cpus: config::parse_cpus(&cli.cpus)?,
        bios: match cli.bios {
            Some(path) if path.as_os_str() == NO_BIOS => None,
            path => Some(path.unwrap_or_else(default_bios)),
        },
        serial,
        consoles,
        debugcon,
        machine,
        disks: cli
            .disk
            .iter()
            .map(|text| config::parse_disk(text))
            .collect::<Result<_, _>>()?,
        nets: cli
            .net
            .iter()
            .map(|text| config::parse_net(text))
            .collect::<Result<_, _>>()?,
        rng: cli.rng,
        reboot: cli.reboot,
        no_shutdown: cli.no_shutdown,
        trace: matches!(cli.trace, Switch::On),
        seccomp: matches!(cli.seccomp, Switch::On),
        measure: cli.measure,
        single_step: matches!(cli.single_step, Switch::On),
        fw_cfg_dma: matches!(cli.fw_cfg_dma, Switch::On),
        smbios: config::parse_smbios(cli.smbios.iter().map(String::as_str))?,
        fw_cfg: cli
            .fw_cfg
            .iter()
            .map(|text| config::parse_user_file(text))
            .collect::<Result<_, _>>()?,
        option_roms: cli
            .option_rom
            .iter()
            .map(|text| config::parse_option_rom(text))
            .collect::<Result<_, _>>()?,
    })
}

fn default_bios() -> PathBuf {
    std::env::current_exe()
        .map(|program| program.with_file_name(DEFAULT_BIOS))
        .unwrap_or_else(|_| DEFAULT_BIOS.into())
}

#[cfg(test)]
mod test {
    use super::*;
    use clap::CommandFactory;
    use config::Target;

    fn parse(arguments: &[&str]) -> Result<Config, config::Error> {
        let all = std::iter::once("microvm").chain(arguments.iter().copied());
        into_config(Cli::try_parse_from(all).unwrap())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_a_small_machine_that_ends_with_its_guest() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.memory.size, config.cpus), (128 << 20, 1));
        assert_eq!(config.serial, Target::Stdio);
        assert_eq!(config.machine, config::Machine::default());
        assert!(config.trace && config.fw_cfg_dma && config.seccomp && !config.reboot);
        assert_eq!(config.bios.unwrap().file_name().unwrap(), DEFAULT_BIOS);
    }

    #[test]
    fn all_options_arrive() {
        let config = parse(&[
            "--kernel",
            "k",
            "--initrd",
            "i",
            "--append",
            "-x console=ttyS0",
            "--memory",
            "size=5G,shared=on",
            "--cpus",
            "255",
            "--bios",
            "b",
            "--machine",
            "acpi=off,pit=off",
            "--machine",
            "rtc=off",
            "--rng",
            "--disk",
            "path=one,readonly=on",
            "--disk",
            "path=two",
            "--net",
            "tap=one",
            "--net",
            "tap=two,queues=2",
            "--serial",
            "file:s",
            "--console",
            "pty",
            "--console",
            "unix:u",
            "--debugcon",
            "file:d",
            "--reboot",
            "--trace",
            "off",
            "--fw-cfg-dma",
            "off",
            "--fw-cfg",
            "opt/a,string=1",
            "--fw-cfg",
            "opt/b,file=f",
        ])
        .unwrap();
        assert_eq!(config.kernel.unwrap(), PathBuf::from("k"));
        assert_eq!(config.initrd.unwrap(), PathBuf::from("i"));
        assert_eq!(config.append, "-x console=ttyS0");
        assert_eq!((config.memory.size, config.cpus), (5 << 30, 255));
        assert!(config.memory.backing.shared);
        assert_eq!(config.bios, Some(PathBuf::from("b")));
        assert_eq!(config.serial, Target::File("s".into()));
        assert_eq!(config.consoles, [Target::Pty, Target::Unix("u".into())]);
        assert_eq!(config.debugcon, Target::File("d".into()));
        assert!(config.rng);
        let paths: Vec<_> = config.disks.iter().map(|disk| &disk.path).collect();
        assert_eq!(paths, [&PathBuf::from("one"), &PathBuf::from("two")]);
        let nets: Vec<_> = config
            .nets
            .iter()
            .map(|net| (&*net.tap, net.queues))
            .collect();
        assert_eq!(nets, [("one", 1), ("two", 2)]);
        assert!(!config.machine.acpi && !config.machine.pit && !config.machine.rtc);
        assert!(config.reboot && !config.trace && !config.fw_cfg_dma);
        assert_eq!(config.fw_cfg.len(), 2);
    }

    #[test]
    fn a_machine_without_com1_has_a_console_and_no_serial_output_unless_it_is_asked_for() {
        let config = parse(&["--machine", "isa-serial=off"]).unwrap();
        assert_eq!(config.serial, Target::None);
        assert_eq!(config.consoles, [Target::Stdio]);
        config.validate().unwrap();
        let config = parse(&["--machine", "isa-serial=off", "--serial", "stdio"]).unwrap();
        assert!(matches!(config.validate(), Err(config::Error::SerialAlone)));
    }

    #[test]
    fn no_firmware_is_a_word_and_not_a_file_of_that_name() {
        assert_eq!(parse(&["--bios", "none"]).unwrap().bios, None);
        let file = parse(&["--bios", "./none"]).unwrap().bios;
        assert_eq!(file, Some(PathBuf::from("./none")));
        let config = parse(&["--bios", "none", "--smbios", "type=11,value=x"]).unwrap();
        let sentence = config.validate().unwrap_err().to_string();
        assert!(
            sentence.starts_with("--smbios: expected firmware"),
            "{sentence}"
        );
    }

    #[test]
    fn of_reboot_and_no_reboot_the_last_one_counts() {
        assert!(parse(&["--no-reboot", "--reboot"]).unwrap().reboot);
        assert!(!parse(&["--reboot", "--no-reboot"]).unwrap().reboot);
    }

    #[test]
    fn unknown_options_are_bad_usage() {
        for arguments in [&["microvm", "--trace", "maybe"][..], &["microvm", "extra"]] {
            let error = Cli::try_parse_from(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }

    #[test]
    fn values_without_sense_are_errors_that_name_their_option() {
        for option in [
            "--memory",
            "--cpus",
            "--machine",
            "--disk",
            "--net",
            "--serial",
            "--console",
            "--debugcon",
            "--fw-cfg",
            "--option-rom",
            "--smbios",
        ] {
            let sentence = parse(&[option, "nonsense"]).unwrap_err().to_string();
            assert!(
                sentence.starts_with(&format!("{option} nonsense: ")),
                "{sentence}"
            );
        }
    }
}
