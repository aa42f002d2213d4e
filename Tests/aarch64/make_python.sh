#!/bin/sh
# make_python.sh FOLDER: puts Debian's Python for arm64 into FOLDER, and FOLDER/python, which runs
# it on this machine through qemu with the packages in FOLDER/site. Nothing outside FOLDER changes.
set -eu
folder=$(mkdir -p "$1" && cd "$1" && pwd)
root=$folder/root
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/site" "$root"
: >"$folder/status" # no package is installed there yet

apt_arm64() {
    apt-get -q -y -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o Dir::State::status="$folder/status" -o Dir::State::lists="$folder/lists" \
        -o Dir::Cache="$folder/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" "$@"
}
apt_arm64 update
apt_arm64 --no-install-recommends --download-only install python3 libstdc++6 # NumPy's wheel is C++
for package in "$folder"/cache/archives/*.deb; do
    dpkg --extract "$package" "$root"
done

cat >"$folder/python" <<END
#!/bin/sh
exec qemu-aarch64-static -L "$root" -E PYTHONHOME="$root/usr" -E PYTHONPATH="$folder/site" \\
    -E PYTHONDONTWRITEBYTECODE=1 "$root/usr/bin/python3" "\$@"
END
chmod +x "$folder/python"
