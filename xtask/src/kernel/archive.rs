//! A cpio archive of the "new ASCII" kind, which is what the kernel unpacks at boot
//! (Documentation/driver-api/early-userspace/buffer-format.rst). Written here so that no tool is needed for it.

/// Files, folders and nothing else, all of them root's.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const END: &str = "TRAILER!!!";

impl Archive {
    /// Adds a folder; its parent must be there.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, &[]);
    }

    /// Adds a file that may be run; its folder must be there.
    pub(super) fn executable(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, EXECUTABLE, contents);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(contents.len()).expect("no file of an initramfs has 4 GiB");
        let name_size = u32::try_from(path.len() + 1).expect("no path has 4 GiB");
        // Inode, mode, owner, group, links, time, size, two device numbers twice, name's size, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(contents);
        self.align();
    }

    /// Headers and contents begin at multiples of four.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_follows_them() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.executable("bin/x", b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(text.matches("070701").count(), 3);
        let file = text.find("bin/x").unwrap();
        // The size is the seventh field of eight digits after the magic number.
        assert_eq!(&text[file - 110 + 6 + 48..file - 110 + 6 + 56], "00000005");
        assert_eq!((file - 110) % 4, 0);
        assert_eq!(text.find("hello").unwrap(), (file + 6).next_multiple_of(4));
        assert!(text.trim_end_matches('\0').ends_with(END));
    }
}
