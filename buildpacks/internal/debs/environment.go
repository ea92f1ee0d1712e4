package debs

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Variable is one of an environment: folders that stand before what it has.
type Variable struct {
	Name  string
	Dirs  []string
	Build bool // for builds alone: where compilers look
}

// Variables are what makes a folder with packages usable.
type Variables []Variable

// triplet is the name of Debian's folders for one architecture.
func triplet() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

// Environment returns the variables for a folder that Install filled.
func Environment(root string) Variables {
	arch := triplet()
	libraries := []string{"usr/local/lib", "usr/lib/" + arch, "usr/lib", "usr/lib64", "usr/lib/" + arch + "/blas", "usr/lib/" + arch + "/lapack", "usr/lib/" + arch + "/openblas-pthread",
		"usr/lib/" + arch + "/pulseaudio", "usr/lib/" + arch + "/samba"}
	// Headers that a library's own -config program names with /usr before it.
	include := []string{"usr/include", "usr/include/" + arch, "usr/include/postgresql", "usr/include/mariadb", "usr/include/libxml2"}
	var all Variables
	add := func(build bool, name string, dirs ...string) {
		var there []string
		for _, d := range dirs {
			found, _ := filepath.Glob(filepath.Join(root, d)) // constant patterns: cannot fail
			there = append(there, found...)
		}
		if len(there) > 0 {
			all = append(all, Variable{name, there, build})
		}
	}
	add(false, "PATH", "usr/local/bin", "usr/bin", "usr/sbin", "usr/games")
	add(false, "LD_LIBRARY_PATH", libraries...)
	add(true, "LIBRARY_PATH", libraries...)
	add(true, "CPATH", include...)
	add(true, "PKG_CONFIG_PATH", "usr/local/lib/pkgconfig", "usr/lib/"+arch+"/pkgconfig", "usr/lib/pkgconfig", "usr/share/pkgconfig")
	add(true, "CMAKE_PREFIX_PATH", "usr")
	add(true, "ACLOCAL_PATH", "usr/share/aclocal")
	add(false, "PYTHONPATH", "usr/lib/python3/dist-packages")
	// Perl looks for its own modules, of which an image may have the fewest, and for compiled ones below its version.
	add(false, "PERL5LIB", "etc/perl", "usr/lib/"+arch+"/perl5", "usr/lib/"+arch+"/perl5/5.*", "usr/share/perl5", "usr/lib/"+arch+"/perl/5.*", "usr/share/perl/5.*")
	add(false, "XDG_DATA_DIRS", "usr/share")
	// Programs and libraries that look for their own files at places that are compiled in.
	add(false, "FONTCONFIG_PATH", "etc/fonts")
	add(false, "GI_TYPELIB_PATH", "usr/lib/"+arch+"/girepository-1.0")
	add(false, "GS_LIB", "usr/share/ghostscript/*/Resource/Init", "usr/share/ghostscript/*/lib", "usr/share/ghostscript/*/Resource/Font", "usr/share/color/icc/ghostscript")
	add(false, "MAGIC", "usr/lib/file/magic.mgc")
	add(false, "MAGICK_CONFIGURE_PATH", "etc/ImageMagick-*", "usr/share/ImageMagick-*", "usr/lib/"+arch+"/ImageMagick-*/config-*")
	add(false, "MAGICK_CODER_MODULE_PATH", "usr/lib/"+arch+"/ImageMagick-*/modules-*/coders")
	add(false, "MAGICK_CODER_FILTER_PATH", "usr/lib/"+arch+"/ImageMagick-*/modules-*/filters")
	add(false, "TESSDATA_PREFIX", "usr/share/tesseract-ocr/*/tessdata")
	return all
}

// AddTo puts the variables into the environment of tools.
func (v Variables) AddTo(env kit.Env) {
	for _, e := range v {
		dirs := slices.Clone(e.Dirs)
		if old := env[e.Name]; old != "" {
			dirs = append(dirs, old)
		} else if e.Name == "XDG_DATA_DIRS" {
			dirs = append(dirs, "/usr/local/share", "/usr/share") // its default
		}
		env[e.Name] = strings.Join(dirs, ":")
	}
}

// SetLayer puts the variables into the environments that a layer gives to the buildpacks after this one and to the app, as its types say.
func (v Variables) SetLayer(l *kit.Layer) {
	for _, e := range v {
		value := strings.Join(e.Dirs, ":")
		if e.Name == "XDG_DATA_DIRS" {
			l.SharedEnvironment.Default(e.Name, value+":/usr/local/share:/usr/share")
			continue
		}
		if l.LayerTypes.Build {
			l.BuildEnvironment.Prepend(e.Name, ":", value)
		}
		if l.LayerTypes.Launch && !e.Build {
			l.LaunchEnvironment.Prepend(e.Name, ":", value)
		}
	}
}
