package php

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/buildpacks/static"
)

// serveScript starts FPM and nginx. Both have the app's output; the end of one is the end of the other, with its status.
const serveScript = `#!/bin/bash
# serve-php [-C FILE] [FOLDER]: serves a folder of the app with nginx and FPM.
root=. front=@DIR@/front.conf
while [ $# -gt 0 ]; do
	case $1 in
	-C) case $0 in *apache2) ;; *) front=$PWD/$2 ;; esac; shift ;;
	-F | -i | -l | -p | -c) shift ;;
	-*) ;;
	*) root=${1%/} ;;
	esac
	shift
done
# A process of PHP takes some 48 MiB on average, and the two servers 64 together.
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || echo max)
[ "$limit" != max ] && [ "$limit" -lt 1000000000000 ] 2>/dev/null || limit=$((512 << 20))
children=$(((limit - (64 << 20)) / (48 << 20)))
[ "$children" -ge 2 ] || children=2
[ "$children" -le 64 ] || children=64
export GITD_FPM_CHILDREN=${WEB_CONCURRENCY:-$children}
printf 'listen %s;\nroot "%s";\ninclude "%s";\n' "${PORT:-8080}" "$(cd "$root" && pwd)" "$front" >/tmp/nginx-listen.conf || exit 1
user=
if [ "$(id -u)" = 0 ]; then as=-R user='user root;'; fi
rm -f /tmp/php-fpm.sock
php-fpm --nodaemonize $as --fpm-config @DIR@/fpm.conf &
fpm=$!
while [ ! -S /tmp/php-fpm.sock ]; do
	kill -0 $fpm 2>/dev/null || { wait $fpm; exit; }
	sleep 0.02
done
nginx -e stderr -g "$user" -c @DIR@/nginx.conf &
nginx=$!
ending=
# nginx first: it finishes its requests, for which it needs FPM.
trap 'ending=1; kill -QUIT $nginx 2>/dev/null' TERM INT QUIT
wait -n $nginx $fpm
status=$?
if [ -n "$ending" ]; then
	wait $nginx
	kill -QUIT $fpm 2>/dev/null
	wait $fpm
	exit 0
fi
kill -QUIT $nginx $fpm 2>/dev/null
exit $((status ? status : 1))
`

// fpmConf is FPM's configuration. Processes are started when requests come.
const fpmConf = `[global]
daemonize = no
error_log = /proc/self/fd/2
log_level = warning
process_control_timeout = 20s
[www]
listen = /tmp/php-fpm.sock
listen.backlog = 511
pm = ondemand
pm.max_children = ${GITD_FPM_CHILDREN}
pm.process_idle_timeout = 60s
pm.max_requests = 2000
catch_workers_output = yes
decorate_workers_output = no
clear_env = no
@ROOT@`

// frontConf sends paths without a file to index.php.
const frontConf = `location / {
    try_files $uri $uri/ /index.php$is_args$args;
}
`

// server makes the layers of nginx and of the configuration.
func (b *build) server() error {
	nginx, err := b.Server.ServerLayer(b.ctx)
	if err != nil {
		return err
	}
	layer, err := kit.OpenLayer(b.ctx, "server")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, nginx, layer)
	files := map[string]string{
		"bin/serve-php": strings.ReplaceAll(serveScript, "@DIR@", layer.Path), "fpm.conf": strings.ReplaceAll(fpmConf, "@ROOT@", ""), "front.conf": frontConf,
		"nginx.conf": static.Conf(filepath.Join(nginx.Path, "mime.types"), serverConf),
	}
	if err := b.heroku(layer.Path); err != nil {
		return err
	}
	key := kit.Key(files["bin/serve-php"], files["fpm.conf"], frontConf, files["nginx.conf"])
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return err
	}
	for name, text := range files {
		path := filepath.Join(layer.Path, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "bin/") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return err
		}
	}
	for _, name := range herokus {
		if err := os.Symlink("serve-php", filepath.Join(layer.Path, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// herokus are the names by which Procfiles ask for a server.
var herokus = []string{"heroku-php-apache2", "heroku-php-nginx"}

// heroku makes the servers that a Procfile takes from vendor/bin the one that is here.
func (b *build) heroku(layer string) error {
	procs, err := procfile.Read(b.app)
	if err != nil {
		return nil // fails in its own buildpack
	}
	for _, p := range procs {
		for _, name := range herokus {
			if !p.Names(name) {
				continue
			}
			kit.Say(b.Out, "%s: nginx and FPM serve", name)
			if !strings.Contains(p.Command, "vendor/bin/"+name) {
				continue
			}
			link := filepath.Join(b.app, "vendor", "bin", name)
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				return err
			}
			if err := os.RemoveAll(link); err != nil {
				return err
			}
			if err := os.Symlink(filepath.Join(layer, "bin", name), link); err != nil {
				return err
			}
		}
	}
	return nil
}

// serverConf is the server of nginx: the folder and the front controller are in the file that is included.
const serverConf = `    client_max_body_size 64m;
    map $http_x_forwarded_proto $https_on {
        default "";
        https on;
    }
    server {
        include /tmp/nginx-listen.conf;
        index index.php index.html index.htm home.php main.php default.php app.php;
        autoindex off;
        location ~ /\.(?!well-known(/|$)) {
            return 404;
        }
        location ~ ^/(?:Procfile|project\.toml|composer\.(?:json|lock)|artisan|(?:vendor|node_modules)/.*)$ {
            return 404;
        }
        location ~ ^(?<script>.+?\.php)(?<info>/.*)?$ {
            if (!-f $document_root$script) {
                return 404;
            }
            fastcgi_pass unix:/tmp/php-fpm.sock;
            fastcgi_buffers 32 16k;
            fastcgi_buffer_size 32k;
            fastcgi_read_timeout 300s;
            fastcgi_param SCRIPT_FILENAME $document_root$script;
            fastcgi_param SCRIPT_NAME $script;
            fastcgi_param PATH_INFO $info;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param DOCUMENT_URI $document_uri;
            fastcgi_param DOCUMENT_ROOT $document_root;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
            fastcgi_param REQUEST_SCHEME $scheme;
            fastcgi_param HTTPS $https_on if_not_empty;
            fastcgi_param HTTP_PROXY "";
            fastcgi_param GATEWAY_INTERFACE CGI/1.1;
            fastcgi_param SERVER_SOFTWARE nginx;
            fastcgi_param REMOTE_ADDR $remote_addr;
            fastcgi_param REMOTE_PORT $remote_port;
            fastcgi_param SERVER_ADDR $server_addr;
            fastcgi_param SERVER_PORT $server_port;
            fastcgi_param SERVER_NAME $host;
            fastcgi_param REDIRECT_STATUS 200;
        }
    }
`
