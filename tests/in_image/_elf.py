"""ELF files without binutils, which no image has. Standard library only."""

import mmap
import struct

DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 5, 14, 15, 29


class Elf:
    """Sections, symbols and needed libraries of a 64-bit ELF file of either byte order."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self.data[:5] != b"\x7fELF\x02":
            raise ValueError("not a 64-bit ELF file: " + path)
        self.end = "<" if self.data[5] == 1 else ">"
        (offset,) = struct.unpack_from(self.end + "Q", self.data, 40)
        size, count, names = struct.unpack_from(self.end + "HHH", self.data, 58)
        self.raw = [struct.unpack_from(self.end + "IIQQQQIIQQ", self.data, offset + i * size) for i in range(count)]
        self.sections = {self._text(self.raw[names][4] + section[0]): section for section in self.raw}

    def _text(self, start):
        return self.data[start : self.data.find(b"\0", start)].decode("utf-8", "replace")

    def content(self, name):
        section = self.sections.get(name)
        if section is None or section[1] == 8:  # SHT_NOBITS
            return b""
        return self.data[section[4] : section[4] + section[5]]

    def strings(self, name):
        return [text.decode("utf-8", "replace") for text in self.content(name).split(b"\0") if text]

    def entries(self, name):
        """Yield (name, value, section) of every symbol of a symbol table; section 0 is an undefined one's."""
        section = self.sections.get(name)
        if section is None:
            return
        start = self.raw[section[6]][4]  # sh_link: its string table
        for entry in struct.iter_unpack(self.end + "IBBHQQ", self.content(name)):
            yield self._text(start + entry[0]), entry[4], entry[3]

    def symbols(self, name):
        """Yield the name of every symbol of a symbol table."""
        for text, _, _ in self.entries(name):
            yield text

    def needed(self):
        """Return the libraries it is linked to, in order."""
        section = self.sections.get(".dynamic")
        if section is None:
            return []
        start = self.raw[section[6]][4]
        pairs = list(struct.iter_unpack(self.end + "qQ", self.content(".dynamic")))
        return [self._text(start + value) for tag, value in pairs if tag == DT_NEEDED]
