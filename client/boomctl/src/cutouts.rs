//! `boomctl cutouts`: the images of an alert as PNG files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use boom_sky::cutout::{Cutout, Scratch, Stamp};
use bson::RawDocument;
use clap::Args;
use serde_json::{Value, json};

use crate::Usage;
use crate::output;
use crate::store::{StoreArgs, names};
use crate::stretch::render;

/// Write the science, template and difference images of an alert as CANDID_science.png, CANDID_template.png, CANDID_difference.png.
///
/// The grey is an asinh stretch from just below the sky's level to the bright end of each image by itself; what is not a number is black.
/// The last row of the FITS image is on top, as FITS viewers show it. A stamp that can not be read is named, the others are written.
#[derive(Debug, Args)]
pub(crate) struct CutoutsArgs {
    /// Id of the alert
    #[arg(allow_negative_numbers = true)]
    candid: i64,
    #[command(flatten)]
    store: StoreArgs,
    /// Directory for the PNG files; made if it is not there
    #[arg(long, value_name = "DIR")]
    png: PathBuf,
    /// Side of a pixel of the stamp in the PNG file
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    scale: u8,
    /// Print the list of files as JSON
    #[arg(long)]
    json: bool,
}

impl CutoutsArgs {
    /// Writes the files.
    ///
    /// # Errors
    /// No such store or alert, or a file can not be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = self.store.open()?;
        let found = self.store.alerts(&store, self.candid)?;
        let [(survey, _)] = found[..] else {
            let all = names(&found.iter().map(|(survey, _)| *survey).collect::<Vec<_>>());
            return Err(
                Usage(format!("there is an alert {} of each of {all}: say which with --survey", self.candid)).into()
            );
        };
        let Some(document) = store.cutouts(survey, self.candid)? else {
            bail!("the {} alert {} was stored without cutouts", survey.name, self.candid);
        };
        let document = RawDocument::from_bytes(&document).context("the stored cutouts are damaged")?;
        fs::create_dir_all(&self.png).with_context(|| format!("making the directory {}", self.png.display()))?;
        let (mut scratch, mut files, mut errors) = (Scratch::default(), Vec::new(), Vec::new());
        for (cutout, field) in Cutout::ALL.into_iter().zip(FIELDS) {
            let bytes = document.get_binary(field).map_or(&[][..], |binary| binary.bytes);
            match scratch.read(bytes) {
                Ok(stamp) => files.push(self.write(cutout, stamp)?),
                Err(error) => {
                    writeln!(io::stderr(), "boomctl: {field} of the {} alert {}: {error}", survey.name, self.candid)?;
                    errors.push(json!({"cutout": cutout.name(), "error": error.to_string()}));
                }
            }
        }
        let code = if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if self.json {
            output::line(&json!({"candid": self.candid, "survey": survey.name, "files": files, "errors": errors}))?;
        } else {
            for path in files.iter().filter_map(|file| file["path"].as_str()) {
                writeln!(io::stdout(), "{path}").context("writing to standard output")?;
            }
        }
        Ok(code)
    }

    fn write(&self, cutout: Cutout, stamp: &Stamp) -> anyhow::Result<Value> {
        let path = self.png.join(format!("{}_{cutout}.png", self.candid));
        let scale = usize::from(self.scale);
        let (width, height) = (stamp.width * scale, stamp.height * scale);
        write_png(&path, (width, height), &render(stamp, scale))
            .with_context(|| format!("writing {}", path.display()))?;
        let bytes = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
        let (pixels_x, pixels_y) = (stamp.width, stamp.height);
        Ok(json!({
            "path": path.display().to_string(),
            "cutout": cutout.name(),
            "width": width,
            "height": height,
            "stamp_width": pixels_x,
            "stamp_height": pixels_y,
            "bytes": bytes,
        }))
    }
}

/// Fields of the cutouts document, in the order of [`Cutout::ALL`].
const FIELDS: [&str; 3] = ["cutoutScience", "cutoutTemplate", "cutoutDifference"];

fn write_png(path: &Path, (width, height): (usize, usize), grey: &[u8]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(grey)?;
    writer.finish()?;
    Ok(file.flush()?)
}
