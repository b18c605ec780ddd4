"""All runs and sessions in some folders: listed, shown in a gallery, tagged, removed, packed and unpacked."""
