package catalog

import "slices"

// DebianVersion is that of the images.
const DebianVersion = "13"

// PackagesVariable hands the Debian packages that project.toml asks for to the build: their names, separated by spaces.
const PackagesVariable = "BP_DEBIAN_PACKAGES"

// MaxPackages bounds how many packages an app may ask for.
const MaxPackages = 100

// PythonVersion is that of the images' own Python, PythonExe.
const PythonVersion = "3.13"

// RunPackages are the Debian packages that the run image needs on top of a minimal system: what the buildpacks put into an app's image needs them, and
// they are patched by a rebase.
var RunPackages = slices.Concat([]string{"bash", "ca-certificates", "python3", "tzdata"},
	// nginx is linked with them: the static buildpack puts its program into the app's image.
	[]string{"libcrypt1", "libpcre2-8-0", "libssl3t64", "zlib1g"},
	// Node.js, and compiled packages of all languages.
	[]string{"libgomp1", "libstdc++6"},
	runLibraries)

// runLibraries are what packages of Python, Ruby, PHP, Node.js, Rust and Go are linked with where they bring no copy of their own. Large ones, such as
// those of ICU (37 MB), are not among them: an app names them in project.toml.
var runLibraries = []string{
	// databases, queues and directories
	"libgdbm6t64", "libldap2", "libmariadb3", "libmemcached11t64", "libpq5", "libsasl2-2", "libsqlite3-0",
	// images and fonts
	"libfreetype6", "libgif7", "libjpeg62-turbo", "liblcms2-2", "libopenjp2-7", "libpng16-16t64", "libtiff6", "libwebp7", "libwebpdemux2", "libwebpmux3",
	// data, its compression and encryption
	"libbz2-1.0", "libexpat1", "libffi8", "libgmp10", "liblz4-1", "libsnappy1v5", "libsodium23", "libyaml-0-2", "libzip5", "libzstd1",
	// the network and the terminal
	"libcurl4t64", "libevent-2.1-7t64", "libncurses6", "libreadline8t64", "libuuid1",
}

// BuildPackages are the Debian packages that the build image needs on top of that.
// git and openssh-client are for dependencies that a lock file takes from a repository, the compilers and headers for packages that are compiled when
// they are installed, the others are what scripts of builds call.
var BuildPackages = slices.Concat([]string{
	"bash", "ca-certificates", "curl", "g++", "gcc", "git", "libc6-dev", "make", "nginx", "openssh-client", "patch", "pkg-config",
	"python3", "python3-dev", "python3-pip", "python3-venv", "unzip", "xz-utils", "zip",
}, headers)

// headers are those of the run image's libraries.
var headers = []string{
	"libgdbm-dev", "libldap-dev", "libmariadb-dev", "libmariadb-dev-compat", "libmemcached-dev", "libpq-dev", "libsasl2-dev", "libsqlite3-dev",
	"libfreetype-dev", "libgif-dev", "libjpeg-dev", "liblcms2-dev", "libopenjp2-7-dev", "libpng-dev", "libtiff-dev", "libwebp-dev",
	"libbz2-dev", "libexpat1-dev", "libffi-dev", "libgmp-dev", "liblz4-dev", "liblzma-dev", "libsnappy-dev", "libsodium-dev", "libssl-dev", "libyaml-dev",
	"libzip-dev", "libzstd-dev", "zlib1g-dev",
	"libcurl4-openssl-dev", "libevent-dev", "libncurses-dev", "libreadline-dev", "uuid-dev",
}
