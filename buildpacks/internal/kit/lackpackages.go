package kit

import (
	"path"
	"strings"
)

// The Debian packages that have what compiled packages of all languages most often miss.
var (
	// byLibrary is by the name in pkg-config, and by what -l and the file say: libNAME.so.
	byLibrary = tableOf(`
default-libmysqlclient-dev: mysqlclient mariadb libmariadb
freetds-dev: sybdb ct
libargon2-dev: argon2 libargon2
libasound2-dev: alsa asound
libavcodec-dev: avcodec libavcodec
libavdevice-dev: avdevice libavdevice
libavfilter-dev: avfilter libavfilter
libavformat-dev: avformat libavformat
libavutil-dev: avutil libavutil
libblas-dev: blas
libbluetooth-dev: bluetooth bluez
libbrotli-dev: brotlienc brotlidec libbrotlienc libbrotlidec
libbz2-dev: bz2 bzip2
libcairo2-dev: cairo cairo-ft cairo-gobject cairo-pdf pycairo
libcups2-dev: cups
libcurl4-openssl-dev: curl libcurl
libdav1d-dev: dav1d
libdb-dev: db
libdbus-1-dev: dbus-1
libegl-dev: EGL egl
libenchant-2-dev: enchant-2
libev-dev: ev
libevent-dev: event libevent
libexif-dev: exif libexif
libexpat1-dev: expat
libffi-dev: ffi libffi
libfontconfig-dev: fontconfig
libfreetype-dev: freetype freetype2
libfuse3-dev: fuse3
libgd-dev: gd gdlib
libgdal-dev: gdal
libgdk-pixbuf-2.0-dev: gdk-pixbuf-2.0
libgeos-dev: geos geos_c
libgirepository1.0-dev: gobject-introspection-1.0 girepository-1.0
libgirepository-2.0-dev: girepository-2.0
libgit2-dev: git2 libgit2
libgl-dev: GL gl
libglib2.0-dev: glib-2.0 gobject-2.0 gio-2.0 gthread-2.0 gmodule-2.0
libgmp-dev: gmp gmpxx
libgnutls28-dev: gnutls
libgpgme-dev: gpgme
libgraphicsmagick1-dev: GraphicsMagick GraphicsMagickWand
libgraphviz-dev: cgraph libcgraph gvc libgvc
libgsl-dev: gsl
libgstreamer1.0-dev: gstreamer-1.0
libgstreamer-plugins-base1.0-dev: gstreamer-app-1.0 gstreamer-video-1.0
libgtk-3-dev: gtk+-3.0 gdk-3.0
libharfbuzz-dev: harfbuzz
libhdf5-dev: hdf5
libheif-dev: heif libheif
libhiredis-dev: hiredis
libhunspell-dev: hunspell
libicu-dev: icu-i18n icu-uc icu-io icui18n icuuc icudata
libimagequant-dev: imagequant
libjansson-dev: jansson
libjemalloc-dev: jemalloc
libjpeg-dev: jpeg libjpeg turbojpeg libturbojpeg
libjson-c-dev: json-c
libkrb5-dev: krb5 gssapi gssapi_krb5 krb5-gssapi mit-krb5
liblapack-dev: lapack
liblcms2-dev: lcms2
libldap-dev: ldap lber
libleptonica-dev: lept leptonica
libleveldb-dev: leveldb
liblmdb-dev: lmdb
liblua5.4-dev: lua lua5.4
libluajit-5.1-dev: luajit
liblz4-dev: lz4 liblz4
liblzma-dev: lzma liblzma
liblzo2-dev: lzo2
libmagic-dev: magic libmagic
libmagickwand-dev: MagickWand MagickCore ImageMagick Magick++
libmemcached-dev: memcached libmemcached
libmpc-dev: mpc
libmpfr-dev: mpfr
libncurses-dev: ncurses ncursesw tinfo curses
libnetcdf-dev: netcdf
libnghttp2-dev: nghttp2 libnghttp2
libnl-3-dev: nl-3 libnl-3.0
libopenblas-dev: openblas
libopencv-dev: opencv opencv4 opencv_core
libopenjp2-7-dev: openjp2 libopenjp2
libopus-dev: opus
libpam0g-dev: pam
libpango1.0-dev: pango pangocairo pangoft2
libpcap-dev: pcap libpcap
libpcre2-dev: pcre2 pcre2-8 libpcre2-8
libpng-dev: png png16 libpng libpng16
libpoppler-cpp-dev: poppler-cpp
libpoppler-glib-dev: poppler-glib
portaudio19-dev: portaudio portaudio-2.0
libpq-dev: pq libpq postgresql
libproj-dev: proj
libprotobuf-dev: protobuf protobuf-lite
libpulse-dev: pulse libpulse
librabbitmq-dev: rabbitmq librabbitmq
librdkafka-dev: rdkafka rdkafka++
libre2-dev: re2
libreadline-dev: readline
librocksdb-dev: rocksdb
librsvg2-dev: rsvg-2 librsvg-2.0
libsasl2-dev: sasl2 libsasl2
libsdl2-dev: sdl2 SDL2
libseccomp-dev: seccomp libseccomp
libsecret-1-dev: secret-1 libsecret-1
libsnappy-dev: snappy
libsndfile1-dev: sndfile
libsodium-dev: sodium libsodium
libspatialindex-dev: spatialindex spatialindex_c
libspatialite-dev: spatialite
libsqlite3-dev: sqlite3
libssh-dev: ssh libssh
libssh2-1-dev: ssh2 libssh2
libssl-dev: ssl crypto openssl libssl libcrypto
libsystemd-dev: systemd libsystemd
libtesseract-dev: tesseract
libtiff-dev: tiff libtiff-4
libltdl-dev: ltdl
libudev-dev: udev libudev
libunwind-dev: unwind libunwind
liburing-dev: uring liburing
libusb-1.0-0-dev: usb-1.0 libusb-1.0
libuv1-dev: uv libuv
libvips-dev: vips vips-cpp
libvirt-dev: virt libvirt
libvpx-dev: vpx
libwebp-dev: webp libwebp libwebpmux
libx11-dev: x11 X11
libx264-dev: x264
libxml2-dev: xml2 libxml-2.0
libxmlsec1-dev: xmlsec1 xmlsec1-openssl
libxslt1-dev: xslt libxslt exslt
libxxhash-dev: xxhash
libyaml-dev: yaml yaml-0.1 libyaml
libyara-dev: yara
libzbar-dev: zbar
libzip-dev: zip libzip
libzmq3-dev: zmq libzmq
libzstd-dev: zstd libzstd
unixodbc-dev: odbc odbcinst
uuid-dev: uuid
zlib1g-dev: z zlib`)

	byHeader = tableOf(`
default-libmysqlclient-dev: mysql.h mysql/mysql.h mariadb/mysql.h my_config.h
freetds-dev: sqlfront.h sybdb.h
libasound2-dev: alsa/asoundlib.h
libavcodec-dev: libavcodec/avcodec.h
libavdevice-dev: libavdevice/avdevice.h
libavfilter-dev: libavfilter/avfilter.h
libavformat-dev: libavformat/avformat.h
libavutil-dev: libavutil/avutil.h libavutil/mathematics.h
libblas-dev: cblas.h
libbluetooth-dev: bluetooth/bluetooth.h
libbz2-dev: bzlib.h
libcairo2-dev: cairo.h cairo/cairo.h
libcups2-dev: cups/cups.h cups/http.h
libcurl4-openssl-dev: curl/curl.h
libdb-dev: db.h
libdbus-1-dev: dbus/dbus.h
libenchant-2-dev: enchant.h
libev-dev: ev.h
libevent-dev: event.h event2/event.h
libexif-dev: libexif/exif-data.h
libexpat1-dev: expat.h
libffi-dev: ffi.h
libfreetype-dev: ft2build.h freetype/freetype.h
libgd-dev: gd.h
libgdal-dev: gdal.h gdal/gdal.h cpl_port.h
libgdbm-dev: gdbm.h
libgeos-dev: geos_c.h geos/geom/Point.h
libgif-dev: gif_lib.h
libgit2-dev: git2.h
libgl-dev: GL/gl.h
libglib2.0-dev: glib.h glib-object.h
libgmp-dev: gmp.h gmpxx.h
libgpgme-dev: gpgme.h
libgraphviz-dev: graphviz/cgraph.h graphviz/gvc.h cgraph.h gvc.h
libgsl-dev: gsl/gsl_math.h gsl/gsl_sf.h
libhdf5-dev: hdf5.h
libhiredis-dev: hiredis/hiredis.h
libhunspell-dev: hunspell.hxx hunspell.h hunspell/hunspell.hxx
libicu-dev: unicode/utypes.h unicode/ucnv.h unicode/ustring.h unicode/brkiter.h
libjpeg-dev: jpeglib.h
libkrb5-dev: krb5.h gssapi.h gssapi/gssapi.h gssapi/gssapi_ext.h com_err.h
liblapack-dev: lapacke.h
liblcms2-dev: lcms2.h
libldap-dev: ldap.h lber.h
libleptonica-dev: leptonica/allheaders.h allheaders.h
libleveldb-dev: leveldb/db.h leveldb/c.h
liblmdb-dev: lmdb.h
liblua5.4-dev: lua.h lua.hpp
liblz4-dev: lz4.h
liblzma-dev: lzma.h
liblzo2-dev: lzo/lzo1x.h
libmagic-dev: magic.h
libmagickwand-dev: wand/MagickWand.h MagickWand/MagickWand.h Magick++.h
libmemcached-dev: libmemcached/memcached.h
libmpc-dev: mpc.h
libmpfr-dev: mpfr.h
libncurses-dev: ncurses.h curses.h term.h ncursesw/ncurses.h
libnetcdf-dev: netcdf.h
libopencv-dev: opencv2/opencv.hpp opencv2/core.hpp opencv2/core/core.hpp
libopenjp2-7-dev: openjpeg.h
libopus-dev: opus.h opus/opus.h
libpam0g-dev: security/pam_appl.h
libpango1.0-dev: pango/pango.h pango/pangocairo.h
libpcap-dev: pcap.h pcap/pcap.h
libpcre2-dev: pcre2.h
libpng-dev: png.h
libpoppler-cpp-dev: poppler/cpp/poppler-document.h poppler-document.h
libpq-dev: libpq-fe.h postgresql/libpq-fe.h pg_config.h
libproj-dev: proj.h proj_api.h
libprotobuf-dev: google/protobuf/message.h
libpulse-dev: pulse/pulseaudio.h
portaudio19-dev: portaudio.h
librabbitmq-dev: amqp.h
librdkafka-dev: librdkafka/rdkafka.h
libre2-dev: re2/re2.h
libreadline-dev: readline/readline.h
librocksdb-dev: rocksdb/c.h rocksdb/db.h
libsasl2-dev: sasl/sasl.h sasl.h
libsdl2-dev: SDL.h SDL2/SDL.h
libseccomp-dev: seccomp.h
libsnappy-dev: snappy.h snappy-c.h
libsndfile1-dev: sndfile.h
libsodium-dev: sodium.h
libspatialindex-dev: spatialindex/capi/sidx_api.h
libsqlite3-dev: sqlite3.h
libssh-dev: libssh/libssh.h
libssh2-1-dev: libssh2.h
libssl-dev: openssl/ssl.h openssl/opensslv.h openssl/err.h openssl/evp.h openssl/crypto.h openssl/aes.h openssl/bio.h
libsystemd-dev: systemd/sd-daemon.h systemd/sd-journal.h
libtesseract-dev: tesseract/baseapi.h tesseract/capi.h
libtiff-dev: tiff.h tiffio.h
libturbojpeg0-dev: turbojpeg.h
libudev-dev: libudev.h
libusb-1.0-0-dev: libusb-1.0/libusb.h libusb.h
libuv1-dev: uv.h
libvips-dev: vips/vips.h vips/vips8.h
libvirt-dev: libvirt/libvirt.h
libvpx-dev: vpx/vpx_decoder.h
libwebp-dev: webp/decode.h webp/encode.h
libx11-dev: X11/Xlib.h
libxml2-dev: libxml/parser.h libxml/xmlversion.h libxml/tree.h libxml/xpath.h
libxmlsec1-dev: xmlsec/xmlsec.h
libxslt1-dev: libxslt/xslt.h libxslt/xsltconfig.h libxslt/transform.h
libxxhash-dev: xxhash.h
libyaml-dev: yaml.h
libzbar-dev: zbar.h
libzip-dev: zip.h
libzmq3-dev: zmq.h
libzstd-dev: zstd.h
linux-libc-dev: linux/types.h
unixodbc-dev: sql.h sqlext.h
uuid-dev: uuid/uuid.h uuid.h
zlib1g-dev: zlib.h`)

	byProgram = tableOf(`
7zip: 7z
autoconf: autoconf autoreconf
automake: automake aclocal
default-jre-headless: java
ghostscript: gs
golang-go: go
graphicsmagick: gm
graphviz: dot
imagemagick: convert magick
libcurl4-openssl-dev: curl-config
libgdal-dev: gdal-config
libgeos-dev: geos-config
libicu-dev: icu-config
libkrb5-dev: krb5-config
libmagickwand-dev: Magick-config MagickWand-config
default-libmysqlclient-dev: mysql_config mariadb_config
libncurses-dev: ncurses-config
libpq-dev: pg_config
libsnmp-dev: net-snmp-config
libtool: libtoolize libtool
libxml2-dev: xml2-config
libxslt1-dev: xslt-config
llvm-dev: llvm-config
ninja-build: ninja
poppler-utils: pdftotext pdftoppm
protobuf-compiler: protoc
rustc: rustc
tesseract-ocr: tesseract
unrar-free: unrar
ffmpeg: ffprobe`)

	// byShared has the libraries that are loaded when an app runs, whose packages are named otherwise than the library.
	byShared = tableOf(`
libgl1: libGL.so.1
libegl1: libEGL.so.1
libglib2.0-0t64: libglib-2.0.so.0 libgthread-2.0.so.0 libgobject-2.0.so.0 libgio-2.0.so.0
libpango-1.0-0: libpango-1.0.so.0
libpangocairo-1.0-0: libpangocairo-1.0.so.0
libcairo2: libcairo.so.2
libgdk-pixbuf-2.0-0: libgdk_pixbuf-2.0.so.0
libmagic1t64: libmagic.so.1
libsm6: libSM.so.6
libxext6: libXext.so.6
libxrender1: libXrender.so.1
libx11-6: libX11.so.6
libnss3: libnss3.so
libatk1.0-0t64: libatk-1.0.so.0
libgbm1: libgbm.so.1
libasound2t64: libasound.so.2
libodbc2: libodbc.so.2
libzbar0t64: libzbar.so.0
libxml2: libxml2.so.2
libxslt1.1: libxslt.so.1 libexslt.so.0
libicu76: libicuuc.so.76 libicui18n.so.76
libvips42t64: libvips.so.42
libsndfile1: libsndfile.so.1
libportaudio2: libportaudio.so.2
libopenblas0-pthread: libopenblas.so.0
libblas3: libblas.so.3
liblapack3: liblapack.so.3`)
)

// tableOf reads "package: name name" lines, into a table by name.
func tableOf(text string) func() map[string]string {
	var table map[string]string
	return func() map[string]string {
		if table == nil {
			table = map[string]string{}
			for line := range strings.Lines(text) {
				pkg, names, _ := strings.Cut(strings.TrimSpace(line), ":")
				for _, n := range strings.Fields(names) {
					table[n] = pkg
				}
			}
		}
		return table
	}
}

func known(table func() map[string]string, name string) []string {
	if p, ok := table()[name]; ok {
		return []string{p}
	}
	return nil
}

// LibraryPackages returns the Debian package to compile with a library, by its name in pkg-config or behind -l; none where it is not known.
func LibraryPackages(name string) []string {
	if p := known(byLibrary, name); p != nil {
		return p
	}
	return known(byLibrary, strings.TrimPrefix(name, "lib"))
}

// HeaderPackages returns the Debian package of a header; none where it is not known.
func HeaderPackages(name string) []string {
	if p := known(byHeader, name); p != nil {
		return p
	}
	return known(byHeader, path.Base(name))
}

// ProgramPackages returns the Debian package of a program: for most, its own name.
func ProgramPackages(name string) []string {
	if p := known(byProgram, name); p != nil {
		return p
	}
	return []string{name}
}

func sharedPackages(file string) []string { return known(byShared, file) }
