//! Tools that work inside the process, and must be there when it starts: libraries to preload, and allocators that sample.

use std::path::{Path, PathBuf};

const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// A process's environment with the tool, and the one to compare it with.
#[derive(Clone)]
pub struct Inside {
    /// As shown.
    pub name: &'static str,
    /// To be preloaded.
    pub preload: PathBuf,
    /// Variables.
    pub variables: Vec<(&'static str, String)>,
    /// The same allocator without sampling; `None`: that of the C library.
    pub bare: Option<PathBuf>,
}

/// Those that are installed, and the names of those that are not.
pub fn insides(folder: &Path) -> (Vec<Inside>, Vec<&'static str>) {
    let library = |name: &str| Path::new(LIBRARIES).join(name);
    let (jemalloc, tcmalloc) = (library("libjemalloc.so.2"), library("libtcmalloc.so.4"));
    let heaptrack = PathBuf::from("/usr/lib/heaptrack/libheaptrack_preload.so");
    let all = [
        Inside {
            name: "heaptrack",
            preload: heaptrack,
            variables: vec![("DUMP_HEAPTRACK_OUTPUT", folder.join("heaptrack.raw").to_string_lossy().into_owned())],
            bare: None,
        },
        Inside {
            name: "jemalloc, sampling every 512 KiB (against jemalloc)",
            preload: jemalloc.clone(),
            variables: vec![("MALLOC_CONF", "prof:true,lg_prof_sample:19,prof_final:false".into())],
            bare: Some(jemalloc),
        },
        Inside {
            name: "tcmalloc, sampling every 512 KiB (against tcmalloc)",
            preload: tcmalloc.clone(),
            variables: vec![("TCMALLOC_SAMPLE_PARAMETER", "524288".into())],
            bare: Some(tcmalloc),
        },
    ];
    let absent = all.iter().filter(|inside| !inside.preload.exists()).map(|inside| inside.name).collect();
    (all.into_iter().filter(|inside| inside.preload.exists()).collect(), absent)
}
