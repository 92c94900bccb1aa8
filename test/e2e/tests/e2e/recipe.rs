//! How SPDK is found and built: nothing half-finished is ever taken for an SPDK, and errors say what was looked for.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use mirror_e2e::machine::ScratchDir;

use crate::case::{Case, Ctx};

pub fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Ctx) -> Result<()>| Case::new(format!("recipe::{name}"), &[], run);
    vec![
        case("failed_download_leaves_nothing", |_| failed_download()),
        case("broken_build_is_not_taken", |_| broken_build()),
        case("another_recipe_is_another_place", |_| another_recipe()),
        case("spdk_dir_comes_first", |_| spdk_dir_comes_first()),
        case("build_script_says_what_it_looked_for", |_| build_script()),
        case("missing_packages_are_named", |_| missing_packages()),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A place with a cache of its own, and programs of its own before those of the system.
struct Place {
    dir: ScratchDir,
}

impl Place {
    fn new() -> Result<Place> {
        let dir = ScratchDir::new()?;
        fs::create_dir(dir.path().join("bin"))?;
        Ok(Place { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A shell script that stands before the system's program of that name.
    fn program(&self, name: &str, script: &str) -> Result<()> {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let path = std::env::var("PATH").context("no PATH")?;
        let mut command = Command::new(program);
        command
            .current_dir(root())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("BDEV_MIRROR_CACHE", self.path("cache"))
            .env_remove("SPDK_DIR")
            .env_remove("SPDK_FROM");
        Ok(command)
    }

    fn recipe(&self, args: &[&str]) -> Result<Output> {
        Ok(self.command("spdk-sys/recipe/spdk-20.07.sh")?.args(args).output()?)
    }

    /// Where the recipe says that its product is.
    fn product(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(String::from_utf8(self.recipe(&["path", "release"])?.stdout)?.trim()))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Insists that a program failed and said all these words.
fn expect_failure(output: &Output, words: &[&str]) -> Result<()> {
    let text = said(output);
    ensure!(!output.status.success(), "it succeeded: {text}");
    for word in words {
        ensure!(text.contains(word), "'{word}' was not said: {text}");
    }
    Ok(())
}

fn failed_download() -> Result<()> {
    let place = Place::new()?;
    let product = place.product()?;
    ensure!(product.starts_with(place.path("cache")), "{}", product.display());
    place.program("apt-get", "exit 1")?;
    expect_failure(&place.recipe(&["build", "release"])?, &["SPDK_DIR=", "apt-get update"])?;
    // One that ends in the middle.
    place.program(
        "apt-get",
        "[[ $1 = indextargets ]] && echo debian || head -c 1000 /dev/urandom >ceph_1.orig.tar.xz",
    )?;
    expect_failure(&place.recipe(&["build", "release"])?, &["failed: tar"])?;
    ensure!(!product.exists(), "{} is there", product.display());
    Ok(())
}

/// A source whose version, configure and make are the test's own.
fn source(place: &Place, minor: u32) -> Result<()> {
    let spdk = place.path("ceph/src/spdk");
    fs::create_dir_all(spdk.join("include/spdk"))?;
    let version = format!("#define SPDK_VERSION_MAJOR\t20\n#define SPDK_VERSION_MINOR\t{minor}\n");
    fs::write(spdk.join("include/spdk/version.h"), version)?;
    fs::write(spdk.join("configure"), "#!/bin/bash\n")?;
    fs::set_permissions(spdk.join("configure"), fs::Permissions::from_mode(0o755))?;
    place.program(
        "apt-get",
        &format!(
            "[[ $1 = indextargets ]] && echo debian || tar -C {} -cf ceph_1.orig.tar.gz ceph",
            place.dir.path().display()
        ),
    )
}

fn broken_build() -> Result<()> {
    let place = Place::new()?;
    let product = place.product()?;
    source(&place, 10)?;
    expect_failure(&place.recipe(&["build", "release"])?, &["another SPDK than 20.07"])?;
    source(&place, 7)?;
    // The last of its steps fails; one that is killed there has done no more.
    place.program("make", "[[ $* != *bdevio* ]]")?;
    expect_failure(&place.recipe(&["build", "release"])?, &["failed: make", "bdevio"])?;
    ensure!(!product.exists(), "a broken build was taken for a finished one");
    place.program("make", "exit 0")?;
    let output = place.recipe(&["build", "release"])?;
    ensure!(output.status.success() && product.join("include/spdk/version.h").exists(), "{}", said(&output));
    // What is finished needs no source and no compiler again.
    place.program("make", "exit 1")?;
    place.program("apt-get", "exit 1")?;
    let output = place.recipe(&["build", "release"])?;
    ensure!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    Ok(())
}

fn another_recipe() -> Result<()> {
    let place = Place::new()?;
    let recipe = fs::read_to_string(root().join("spdk-sys/recipe/spdk-20.07.sh"))?;
    let mut products = Vec::new();
    for (name, text) in [("same", recipe.clone()), ("other", format!("{recipe}# changed\n"))] {
        place.program(name, &text)?;
        fs::write(place.path("bin").join(name), text)?;
        let output = place.command(place.path("bin").join(name))?.args(["path", "release"]).output()?;
        products.push(PathBuf::from(String::from_utf8(output.stdout)?.trim()));
    }
    ensure!(products[0] == place.product()?, "{products:?}");
    ensure!(products[0] != products[1], "a changed recipe has the same place: {products:?}");
    Ok(())
}

fn spdk_dir_comes_first() -> Result<()> {
    let place = Place::new()?;
    let make_spdk =
        |dir: &Path| -> Result<Output> { Ok(place.command("test/spdk.sh")?.env("SPDK_DIR", dir).output()?) };
    expect_failure(&make_spdk(&place.path("nowhere"))?, &["nowhere", "no such folder"])?;
    expect_failure(&make_spdk(place.dir.path())?, &["include/spdk/bdev.h"])?;
    fs::create_dir_all(place.path("tree/include/spdk"))?;
    fs::write(place.path("tree/include/spdk/bdev.h"), "")?;
    expect_failure(&make_spdk(&place.path("tree"))?, &["not built", "libspdk_bdev.so", "configure"])?;
    ensure!(!place.path("cache").exists(), "something was built though SPDK_DIR was given");
    Ok(())
}

/// The build script of spdk-sys, as cargo has compiled it for one of the products.
fn build_script() -> Result<()> {
    let place = Place::new()?;
    let run = |variable: &str, value: &Path| -> Result<Output> {
        Ok(place
            .command(newest_build_script()?)?
            .current_dir(root().join("spdk-sys"))
            .env("CARGO_MANIFEST_DIR", root().join("spdk-sys"))
            .env("OUT_DIR", place.dir.path())
            .env_remove("PKG_CONFIG_PATH")
            .env(variable, value)
            .output()?)
    };
    let nowhere = place.path("nowhere");
    expect_failure(&run("SPDK_DIR", &nowhere)?, &["SPDK_DIR=", "nowhere", "built SPDK tree"])?;
    // pkg-config comes before the cache: what it finds is judged, and not passed over.
    fs::create_dir_all(place.path("include/spdk"))?;
    let version = "#define SPDK_VERSION_MAJOR 21\n#define SPDK_VERSION_MINOR 1\n";
    fs::write(place.path("include/spdk/version.h"), version)?;
    let pc = format!("Name: x\nDescription: x\nVersion: 1\nCflags: -I{}\n", place.path("include").display());
    fs::write(place.path("spdk_bdev.pc"), pc)?;
    expect_failure(&run("PKG_CONFIG_PATH", place.dir.path())?, &["21.01", "20.07"])?;
    // Nothing anywhere: all three places are named, and what to do.
    let cache = place.path("cache");
    let words = ["SPDK_DIR: not set", "spdk_bdev.pc", cache.to_str().context("no text")?, "make spdk"];
    expect_failure(&run("NOTHING", place.dir.path())?, &words)
}

fn newest_build_script() -> Result<PathBuf> {
    let builds = ["shared", "static"].map(|product| root().join("target").join(product).join("release/build"));
    let folders = builds.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path());
    let scripts = folders.map(|folder| folder.join("build-script-main"));
    let scripts = scripts.filter(|script| script.is_file() && script.to_string_lossy().contains("/spdk-sys-"));
    let newest = scripts.max_by_key(|script| script.metadata().and_then(|data| data.modified()).ok());
    newest.with_context(|| format!("no build script of spdk-sys in {builds:?}: run the tests by make test"))
}

/// Without root the packages are named in one line, and nothing is tried.
fn missing_packages() -> Result<()> {
    let place = Place::new()?;
    place.program("dpkg-query", "exit 1")?;
    place.program("id", "echo 1000")?;
    place.program("apt-get", &format!("touch {}", place.path("called").display()))?;
    let output = place.command("test/deps.sh")?.output()?;
    expect_failure(&output, &["sudo apt-get install", "libaio-dev", "ninja-build"])?;
    let lines = said(&output).lines().filter(|line| line.contains("apt-get install")).count();
    ensure!(lines == 1 && !place.path("called").exists(), "{}", said(&output));
    // As root they are installed.
    place.program("id", "echo 0")?;
    let output = place.command("test/deps.sh")?.output()?;
    ensure!(output.status.success() && place.path("called").exists(), "{}", said(&output));
    Ok(())
}
