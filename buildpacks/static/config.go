package static

import (
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// config is what the configuration of nginx is made from.
type config struct {
	Root         string
	ETag         string // digest of the whole site
	Index        string // the first page of a folder, where it is not index.html; "" for that
	SPA          bool
	NotFoundPage bool // the site has a 404.html
	Settings     settings
	Rules        rules
	Passwords    string // the file that has them; "" for a site that is open
}

// hashed matches files whose name changes with their content: a digest in hexadecimal, with letters and digits, or what frameworks put into folders of
// their own. They may be kept for good.
const hashed = `"~^/(?:_next/static|_app/immutable|_nuxt/builds)/" "public, max-age=31536000, immutable";
        "~*^/(?:.*/)?assets/[^/]*-(?=[a-z0-9_-]*[0-9])[a-z0-9_-]{8}\.(?:js|css|mjs)$" "public, max-age=31536000, immutable";
        "~/[^/]*[.-](?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{8,64}(?:\.[a-z]+)?\.(?:js|mjs|css|woff2?|ttf|otf|png|jpe?g|gif|svg|webp|avif|ico|wasm|map)$" "public, max-age=31536000, immutable";
`

// frame is the configuration. All that is written goes to /tmp: the root of an app's file system is read-only.
// The files of an image all have one date, so that nginx's own ETag, made of date and size, would call a changed file of equal
// size unchanged: the site's digest takes its place. It is a weak one because gzip changes the bytes.
const frame = `daemon off;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr warn;
events {
    worker_connections 2048;
}
http {
    include @TYPES@;
    types {
        text/javascript mjs cjs;
        application/manifest+json webmanifest;
        application/json map;
        application/geo+json geojson;
        application/ld+json jsonld;
        application/wasm wasm;
        text/csv csv;
        text/markdown md;
        text/vtt vtt;
        text/calendar ics;
        application/yaml yaml yml;
        font/ttf ttf;
        font/otf otf;
        font/woff woff;
        font/woff2 woff2;
        image/avif avif;
        image/webp webp;
        image/jxl jxl;
        model/gltf-binary glb;
        model/gltf+json gltf;
        audio/ogg opus;
        video/mp4 m4v;
        application/vnd.apple.mpegurl m3u8;
    }
    default_type application/octet-stream;
    charset utf-8;
    access_log off;
    server_tokens off;
    absolute_redirect off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    client_max_body_size 1m;
    client_body_temp_path /tmp/nginx-body;
    proxy_temp_path /tmp/nginx-proxy;
    fastcgi_temp_path /tmp/nginx-fastcgi;
    uwsgi_temp_path /tmp/nginx-uwsgi;
    scgi_temp_path /tmp/nginx-scgi;
    open_file_cache max=4096 inactive=60s;
    gzip on;
    gzip_static on;
    variables_hash_max_size 4096;
    geo $dollar {
        default "$";
    }
    map $uri $kept {
        default "";
        @HASHED@    }
@MAPS@    gzip_comp_level 5;
    gzip_min_length 512;
    gzip_vary on;
    gzip_proxied any;
    gzip_types text/plain text/css text/javascript text/xml application/javascript application/json application/manifest+json
        application/geo+json application/ld+json text/csv text/markdown text/vtt application/yaml application/xml application/rss+xml application/atom+xml application/wasm image/svg+xml font/ttf font/otf;
    server {
        include /tmp/nginx-listen.conf;
        root @ROOT@;
        index @INDEX@;
        autoindex @LISTING@;
        etag off;
        if_modified_since off;
        add_header Last-Modified "";
        add_header ETag 'W/"@ETAG@"';
        if ($http_if_none_match = 'W/"@ETAG@"') {
            return 304;
        }
@SETS@@FORCED@        error_page 403 404 =404 @NOTFOUND@;
        location / {
            try_files $uri $uri/ $uri.html @rules;
        }
        location @rules {
@REDIRECTS@            @FALLBACK@;
        }
@DOTFILES@        location ~ ^/(Procfile|project\.toml|_redirects|_headers|Staticfile|Staticfile\.auth|static\.json|netlify\.toml|node_modules/.*|.*\.php)$ {
            return 404;
        }
@CONTENT@@PAGES@    }
}
`

func (c config) render(types string) string {
	fallback, notFound, pages := "return 404", "@notfound", "        location @notfound {\n            return 404;\n        }\n"
	if c.NotFoundPage {
		notFound, pages = "/404.html", "        location = /404.html {\n            internal;\n        }\n"
	}
	if c.SPA {
		fallback = "rewrite ^ /index.html break"
	}
	mapLines, sets, content := c.Rules.headerLines("$kept")
	if c.Settings.https {
		sets += "        if ($http_x_forwarded_proto = http) {\n            return 301 https://$host$request_uri;\n        }\n"
	}
	if c.Passwords != "" {
		sets += "        auth_basic \"Restricted\";\n        auth_basic_user_file " + quote(c.Passwords) + ";\n"
	}
	dotFiles := "        location ~ /\\.(?!well-known(/|$)) {\n            return 404;\n        }\n"
	if c.Settings.dotFiles {
		dotFiles = "        location ~ /\\.git(/|$) {\n            return 404;\n        }\n"
	}
	index := indexPage
	if c.Index != "" && c.Index != indexPage {
		index += " " + quote(c.Index)
	}
	text := strings.NewReplacer("@INDEX@", index, "@TYPES@", quote(types), "@ROOT@", quote(c.Root), "@ETAG@", c.ETag, "@FALLBACK@", fallback, "@LISTING@", kit.Pick(c.Settings.listing, "on", "off"),
		"@NOTFOUND@", notFound, "@PAGES@", pages, "@HASHED@", hashed, "@DOTFILES@", dotFiles, "@MAPS@", mapLines, "@SETS@", sets, "@CONTENT@", content,
		"@FORCED@", c.Rules.redirectLines(c.Root, true, "        "), "@REDIRECTS@", c.Rules.redirectLines(c.Root, false, "            "))
	return text.Replace(frame)
}

// quote writes a path as a word of nginx's configuration.
func quote(path string) string {
	if strings.ContainsAny(path, " \t;{}'\"\\$") {
		return strconv.Quote(path)
	}
	return path
}

// Conf is a configuration of nginx for the buildpack of a language: what a site's has for all servers, and that language's server.
func Conf(types, server string) string {
	common, _, _ := strings.Cut(frame, "    server {\n")
	return strings.NewReplacer("@TYPES@", quote(types), "@MAPS@", "", "@HASHED@", "", "    client_max_body_size 1m;\n", "").Replace(common) + server + "}\n"
}
