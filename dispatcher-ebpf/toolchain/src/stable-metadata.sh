#!/bin/sh
# Stands between cargo and rustc: gives a crate's symbols a hash of its name and version instead of its folder.
# (cargo hashes the absolute path of a path dependency outside the workspace, and of the library source.)
for argument do
    shift
    case $argument in
        metadata=*) argument=metadata=$CARGO_PKG_NAME-$CARGO_PKG_VERSION ;;
    esac
    set -- "$@" "$argument"
done
exec "$@"
