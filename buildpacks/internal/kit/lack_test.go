package kit

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestFindLack has what the tools of each language say.
func TestFindLack(t *testing.T) {
	add := func(what, pkg string) string { return what + ": " + AddPackages(pkg) }
	for said, want := range map[string]string{
		"Error: pg_config executable not found.\n":                                                                  add("the program pg_config", "libpq-dev"),
		"OSError: mysql_config not found":                                                                           add("the program mysql_config", "default-libmysqlclient-dev"),
		"Exception: Can not find valid pkg-config name.\nSpecify MYSQLCLIENT_CFLAGS":                                add("the library mysqlclient", "default-libmysqlclient-dev"),
		"src/_ldap.c:9:10: fatal error: lber.h: No such file or directory":                                          add("the header lber.h", "libldap-dev"),
		"./x.h:3:10: fatal error: 'openssl/ssl.h' file not found":                                                   add("the header openssl/ssl.h", "libssl-dev"),
		"a.c:1:10: fatal error: nobody_knows.h: No such file or directory":                                          "the header nobody_knows.h: find its package at packages.debian.org and " + AddPackages("NAME"),
		"a.c:1:10: fatal error: Python.h: No such file or directory":                                                "",
		"/usr/bin/ld: cannot find -lmagic: No such file or directory\ncollect2: error":                              add("the library magic", "libmagic-dev"),
		"Package libvips was not found in the pkg-config search path.":                                              add("the library libvips", "libvips-dev"),
		"Package 'cairo', required by 'virtual:world', not found":                                                   add("the library cairo", "libcairo2-dev"),
		"configure: error: Package requirements (libxml-2.0 >= 2.9.4) were not met:":                                add("the library libxml-2.0", "libxml2-dev"),
		"../meson.build:21:15: ERROR: Dependency \"glib-2.0\" not found, tried pkgconfig":                           add("the library glib-2.0", "libglib2.0-dev"),
		"The system library `alsa` required by crate `alsa-sys` was not found.":                                     add("the library alsa", "libasound2-dev"),
		"# pkg-config --cflags  -- opencv4\npkg-config: exec: \"pkg-config\": executable file not found in $PATH\n": add("the program pkg-config", "pkg-config"),
		"/bin/sh: 1: protoc: not found\n":                                                                           add("the program protoc", "protobuf-compiler"),
		"sh: 1: ffmpeg: not found":                                                                                  add("the program ffmpeg", "ffmpeg"),
		"Error: spawn convert ENOENT":                                                                               add("the program convert", "imagemagick"),
		"bash: line 1: cmake: command not found":                                                                    add("the program cmake", "cmake"),
		"Can't find the 'libpq-fe.h header":                                                                         add("the header libpq-fe.h", "libpq-dev"),
		"ffi.h is missing. Please install libffi development files.":                                                add("the header ffi.h", "libffi-dev"),
		"checking for sys/socketvar.h... no\nchecking for nothing.h... no":                                          "",
		"the file options.h is missing":                                                                             "",
		"ImportError: libGL.so.1: cannot open shared object file: No such file or directory":                        add("the library libGL.so.1", "libgl1"),
		"thread 'main' panicked: Unable to find libclang: \"couldn't find any valid shared libraries\"":             add("libclang", "libclang-dev"),
		"error: package foo was not found in the registry":                                                          "",
		"": "",
	} {
		got := ""
		if l, ok := FindLack(said); ok {
			got = l.What + ": " + l.Next()
		}
		if got != want {
			t.Errorf("%q:\n got %s\nwant %s", said, got, want)
		}
	}
}

// TestRunLack: the error of a tool names what it lacks, and callers get the message without it.
func TestRunLack(t *testing.T) {
	env := Env{"PATH": os.Getenv("PATH")}
	_, err := Cmd{Args: []string{"sh", "-c", "echo 'fatal error: gif_lib.h: No such file or directory' >&2; exit 3"}, Env: env, Out: io.Discard, Name: "make"}.Run()
	if want := "make failed (exit status 3): the header gif_lib.h is missing; " + AddPackages("libgif-dev"); err == nil || Line(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, err = Cmd{Args: []string{"sh", "-c", "echo fatal error: mine.h: No such file; exit 3"}, Env: env, Out: io.Discard, Name: "make", Next: "look"}.Run()
	if err == nil || strings.Contains(Line(err), "mine.h") || !strings.HasSuffix(Line(err), "; look") {
		t.Errorf("a header of the app's own: %v", err)
	}
}
