"""All reading and writing of files: guarded reading, atomic writing, and locks for writers."""

from ganzoo.files.locks import Lock
from ganzoo.files.pickles import Record, entries, module_tensors, named_tensors, read_pickle
from ganzoo.files.reading import (
    open_regular,
    parse_json,
    read_arrays,
    read_bytes,
    read_csv,
    read_json,
    read_records,
    read_text,
    read_toml,
)
from ganzoo.files.remote import file_system, is_url, reached, without_secrets
from ganzoo.files.writing import (
    append_line,
    atomic_folder,
    atomic_path,
    check_writable,
    fsync_folder,
    refuse_links,
    remove,
    remove_leftovers,
    temporary_path,
    write_atomic,
    writing,
)

__all__ = [
    "Lock",
    "Record",
    "append_line",
    "atomic_folder",
    "atomic_path",
    "check_writable",
    "entries",
    "file_system",
    "fsync_folder",
    "is_url",
    "module_tensors",
    "named_tensors",
    "open_regular",
    "parse_json",
    "reached",
    "read_arrays",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_pickle",
    "read_records",
    "read_text",
    "read_toml",
    "refuse_links",
    "remove",
    "remove_leftovers",
    "temporary_path",
    "without_secrets",
    "write_atomic",
    "writing",
]
