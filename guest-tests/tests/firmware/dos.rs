//! 16-bit: a DOS on a floppy shows its prompt, runs a program, and keeps the file that the program writes.
//!
//! No package of Debian, PyPI or npm carries a DOS that could be fetched for a test, so the DOS is one of our own (`firmware/dos/`): a boot
//! sector, a prompt, programs by INT 21h on FAT12 through INT 13h. With `FERRY_DOS_FLOPPY` the same is done with the DOS on a copy of that
//! image, FreeDOS' for instance; it must boot to a prompt `A:\>` and have room for our program.

use super::{LIMIT, assembled, common, config, fastest, guest, media, scratch};
use machine::Vga;
use machine::drives::{Interface, Kind};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the image of a floppy with a DOS.
const FLOPPY: &str = "FERRY_DOS_FLOPPY";

/// One of mtools on `image`; its output, or why there is none.
fn mtool(name: &str, image: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(name);
    command.arg("-i").arg(image).args(args);
    match command.output() {
        Ok(done) if done.status.success() => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        Ok(done) => Err(format!(
            "{name} failed: {}",
            String::from_utf8_lossy(&done.stderr)
        )),
        Err(why) => Err(format!("{name} (Debian: mtools) cannot be run: {why}")),
    }
}

/// A file in `dir` with what nasm makes of `source`.
fn file(name: &str, dir: &Path, source: &str, to: &str) -> Option<PathBuf> {
    let path = dir.join(to);
    std::fs::write(&path, assembled(name, source)?).expect("a file");
    Some(path)
}

/// A floppy with our DOS; `None` without nasm.
fn own_floppy(name: &str, dir: &Path) -> Option<Result<PathBuf, String>> {
    let boot = file(name, dir, "dos/boot.asm", "boot")?;
    let kernel = file(name, dir, "dos/kernel.asm", "KERNEL.SYS")?;
    let image = dir.join("dos.img");
    let (boot, kernel) = (boot.display().to_string(), kernel.display().to_string());
    let made = mtool("mformat", &image, &["-C", "-f", "1440", "-B", &boot, "::"])
        .and_then(|_| mtool("mcopy", &image, &["-o", &kernel, "::KERNEL.SYS"]));
    Some(made.map(|_| image))
}

/// The floppy boots, runs a program that writes a file, and shows that file after the next boot.
fn keeps_a_file(name: &str, dir: &Path, image: &Path) {
    let Some(program) = file(name, dir, "dos/note.asm", "NOTE.COM") else {
        return;
    };
    let program = program.display().to_string();
    mtool("mcopy", image, &["-o", &program, "::NOTE.COM"]).expect("room for a program");
    let Some(mut config) = config(name, "seabios", fastest()) else {
        return;
    };
    match guest::file("vgabios") {
        Ok(bios) => config.video_bios = Some(bios),
        Err(why) => return eprintln!("{name}: skipped, there is no video BIOS: {why}"),
    }
    config.vga = Vga::Present;
    config.memory = 16 << 20;
    config.drives = vec![media::drive(Interface::Floppy, Kind::Disk, image.into())];

    let outcome = common::attend(&config, LIMIT, |person| {
        person.sees("A:\\>")?;
        person.types("note\n");
        person.sees("NOTE runs")?;
        person.sees("NOTE.TXT is written")?;
        person.pulls_the_plug();
        Ok(())
    });
    assert_eq!(outcome.missed, None, "{}", outcome.screen);
    let text = mtool("mtype", image, &["::NOTE.TXT"]).expect("the file that was written");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines, ["kept on the floppy"; 100]);
    let listing = mtool("mdir", image, &["-b", "::"]).expect("a directory");
    assert!(listing.contains("NOTE.COM"), "{listing}");

    let outcome = common::attend(&config, LIMIT, |person| {
        person.sees("A:\\>")?;
        person.types("type note.txt\n");
        person.sees("kept on the floppy\nkept on the floppy\n")?;
        person.pulls_the_plug();
        Ok(())
    });
    assert_eq!(outcome.missed, None, "{}", outcome.screen);
}

#[test]
fn a_dos_floppy_of_our_own() {
    let name = "a_dos_floppy_of_our_own";
    let dir = scratch(name);
    match own_floppy(name, &dir) {
        Some(Ok(image)) => keeps_a_file(name, &dir, &image),
        Some(Err(why)) => eprintln!("{name}: skipped, {why}"),
        None => {}
    }
}

#[test]
fn a_dos_floppy_that_is_named() {
    let name = "a_dos_floppy_that_is_named";
    let dir = scratch(name);
    let Some(floppy) = std::env::var_os(FLOPPY) else {
        eprintln!("{name}: skipped, {FLOPPY} names no image");
        return;
    };
    let image = dir.join("dos.img");
    std::fs::copy(&floppy, &image).expect("the image that FERRY_DOS_FLOPPY names");
    match mtool("mdir", &image, &["-b", "::"]) {
        Ok(_) => keeps_a_file(name, &dir, &image),
        Err(why) => eprintln!("{name}: skipped, {why}"),
    }
}
