//! The pictures of the documentation: a text mode, a graphics mode, the page in a browser; each of a real system. `cargo xtask pictures` writes
//! them to `docs/pictures`; as a test they go to a directory that is thrown away.

mod browser;
#[expect(dead_code, reason = "shared with tests that need more")]
mod common;
#[expect(dead_code, reason = "shared with tests that need more")]
#[path = "../../../guest-tests/tests/guest/mod.rs"]
mod guest;

use browser::Browser;
use common::{Running, Scratch, program};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Names the directory that the pictures are written to.
const PICTURES: &str = "FERRY_PICTURES";
/// Bytes that a picture may have, in a repository.
const LARGEST: usize = 200_000;
const LIMIT: Duration = Duration::from_secs(600);

/// A machine with a screen and a disc in its drive, under control.
struct Machine {
    _child: Running,
    control: String,
    /// The page's address, if it was asked for.
    page: String,
}

impl Machine {
    fn start(dir: &Scratch, disc: &Path, memory: &str, web: bool) -> Result<Self, String> {
        let control = dir.path("control");
        let _ = std::fs::remove_file(&control);
        let [bios, video_bios] = ["seabios", "vgabios"].map(guest::file);
        let mut command = program();
        command
            .args([
                "run", "--vga", "std", "--serial", "null", "--memory", memory,
            ])
            .arg("--control")
            .arg(format!("unix:{control}"))
            .arg("--firmware")
            .arg(bios?)
            .arg("--vga-rom")
            .arg(video_bios?)
            .arg("--cdrom")
            .arg(disc);
        if web {
            command.args(["--display", "web=:0"]);
        }
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = Running(child.map_err(|e| e.to_string())?);
        let mut page = String::new();
        if web {
            let stderr = child.0.stderr.take().ok_or("no output")?;
            BufReader::new(stderr)
                .read_line(&mut page)
                .map_err(|e| e.to_string())?;
        }
        let page = page.trim().trim_start_matches("ferry: ").to_owned();
        Ok(Self {
            _child: child,
            control,
            page,
        })
    }

    /// What the machine answers to a command.
    fn ask(&self, command: &[&str]) -> Option<String> {
        let mut ctl = program();
        let done = ctl.arg("ctl").arg(&self.control).args(command).output();
        let done = done.expect("ferry ctl");
        (done.status.success()).then(|| String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Waits for a text mode with this text.
    fn sees(&self, text: &str) {
        let start = Instant::now();
        loop {
            let screen = self.ask(&["text"]).unwrap_or_default();
            if screen.contains(text) {
                return;
            }
            assert!(
                start.elapsed() < LIMIT,
                "no '{text}' on the screen:\n{screen}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn screenshot(&self, dir: &Scratch) -> Vec<u8> {
        let path = dir.path("screen.png");
        let mut shot = program();
        let done = shot.arg("screenshot").args([&self.control, &path]).status();
        assert!(done.expect("ferry screenshot").success());
        std::fs::read(path).expect("a picture")
    }
}

/// Width, height, and red, green and blue of each pixel.
fn pixels(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let decoder = png::Decoder::new(std::io::Cursor::new(png));
    let mut reader = decoder.read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("a picture");
    bytes.truncate(info.buffer_size());
    let rgb = match info.color_type {
        png::ColorType::Rgba => bytes.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        _ => bytes,
    };
    (info.width, info.height, rgb)
}

/// How many colours there are.
fn colours(rgb: &[u8]) -> usize {
    let all: std::collections::BTreeSet<&[u8]> = rgb.chunks(3).collect();
    all.len()
}

/// Keeps a picture, as small as PNG makes it.
fn keep(scratch: &Scratch, name: &str, (width, height, rgb): &(u32, u32, Vec<u8>)) {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, *width, *height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().expect("a picture");
    writer.write_image_data(rgb).expect("a picture");
    writer.finish().expect("a picture");
    assert!(bytes.len() < LARGEST, "{name} has {} bytes", bytes.len());
    let dir = std::env::var_os(PICTURES).map_or(scratch.0.clone(), PathBuf::from);
    std::fs::write(dir.join(name), bytes).expect("a picture");
}

/// A disc of the guest cache; says so if it cannot be had.
fn disc(test: &str, kind: &str) -> Option<PathBuf> {
    guest::file(kind)
        .map_err(|why| eprintln!("{test}: skipped, {kind} cannot be had: {why}"))
        .ok()
}

#[test]
#[ignore = "nightly: pictures for the documentation"]
fn picture_of_a_text_mode() {
    let name = "picture_of_a_text_mode";
    let Some(disc) = disc(name, "memtest-iso") else {
        return;
    };
    let scratch = Scratch::new(name);
    let machine = Machine::start(&scratch, &disc, "32M", false).expect("a machine");
    machine.sees("Test #5");
    let picture = pixels(&machine.screenshot(&scratch));
    assert_eq!((picture.0, picture.1), (720, 400));
    assert!(colours(&picture.2) >= 4);
    keep(&scratch, "text.png", &picture);
}

#[test]
#[ignore = "nightly: pictures for the documentation"]
fn picture_of_a_graphics_mode() {
    let name = "picture_of_a_graphics_mode";
    let Some(disc) = disc(name, "installer-iso") else {
        return;
    };
    let scratch = Scratch::new(name);
    let machine = Machine::start(&scratch, &disc, "1G", false).expect("a machine");
    machine.sees("Graphical install");
    machine.ask(&["send-key", "down"]);
    machine.ask(&["send-key", "down"]);
    machine.ask(&["send-key", "enter"]);
    // The dialog is there when something with many colours, its letters, stands below the banner and stays as it is.
    let below = |(width, _, rgb): &(u32, u32, Vec<u8>)| {
        colours(rgb.get(3 * 100 * *width as usize..).unwrap_or_default())
    };
    let start = Instant::now();
    let mut last = (0, 0, Vec::new());
    let picture = loop {
        std::thread::sleep(Duration::from_secs(5));
        let now = pixels(&machine.screenshot(&scratch));
        if now.0 >= 640 && now.1 >= 480 && below(&now) > 32 && now == last {
            break now;
        }
        assert!(start.elapsed() < LIMIT, "no graphics after {LIMIT:?}");
        last = now;
    };
    keep(&scratch, "graphics.png", &picture);
}

#[test]
#[ignore = "nightly: pictures for the documentation"]
fn picture_of_the_page() {
    let name = "picture_of_the_page";
    let Some(chromium) = browser::chromium() else {
        eprintln!("{name}: skipped, there is no Chromium (Debian: chromium)");
        return;
    };
    let Some(disc) = disc(name, "grub-iso") else {
        return;
    };
    let scratch = Scratch::new(name);
    let machine = Machine::start(&scratch, &disc, "256M", true).expect("a machine");
    machine.sees("Ferry: Linux");
    let mut page = Browser::open(chromium, &scratch.path("profile"), &machine.page);
    page.wait_for("document.getElementById('state').textContent === 'connected'");
    page.wait_for("screen_.width === 720 && screen_.height === 400");
    let size = serde_json::json!({ "width": 1000, "height": 1020, "deviceScaleFactor": 1, "mobile": false });
    page.call("Emulation.setDeviceMetricsOverride", size);
    for key in ["down", "down", "enter"] {
        machine.ask(&["send-key", key]);
    }
    page.wait_for("serial.textContent.includes('root@ferry')");
    let shot = page.call("Page.captureScreenshot", serde_json::json!({}));
    let data = shot["data"].as_str().and_then(control::base64::decode);
    let bytes = data.expect("a picture");
    let picture = pixels(&bytes);
    assert_eq!((picture.0, picture.1), (1000, 1020));
    keep(&scratch, "page.png", &picture);
}
