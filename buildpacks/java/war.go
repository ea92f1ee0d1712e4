package java

import (
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// tomcats are the versions of Tomcat: for wars of Java EE, whose packages are named javax, and for those of Jakarta EE.
var tomcats = map[bool]string{false: "9.0.117", true: "10.1.59"}

//go:embed tomcat/server.xml
var tomcatServer string

//go:embed tomcat/logging.properties
var tomcatLogging string

// tomcatLayout is raised when the same Tomcat makes another layer than before.
const tomcatLayout = "1"

// startWar serves a war by Tomcat.
func (b *build) startWar(j *jar, rel string) (*libcnb.Process, error) {
	dir, err := b.unpack(j, rel)
	if err != nil {
		return nil, err
	}
	b.slices = append(b.slices, libcnb.Slice{Paths: []string{filepath.Join(dir, "WEB-INF/lib/**")}})
	web, err := b.serveWar(dir, j.jakarta)
	if err != nil {
		return nil, err
	}
	return web, b.clear(dir)
}

// serveWar is the process that serves an unpacked war.
func (b *build) serveWar(dir string, jakarta bool) (*libcnb.Process, error) {
	version := tomcats[jakarta]
	if v := b.env["BP_TOMCAT_VERSION"]; v != "" {
		if compare(v, "8") < 0 || strings.Trim(v, "0123456789.*") != "" {
			return nil, kit.Errorf("write a version such as "+version, "BP_TOMCAT_VERSION is %q, which is not a version of Tomcat", short(v))
		}
		if strings.Count(v, ".") == 2 && !strings.Contains(v, "*") {
			version = v
		} else {
			version = tomcats[compare(v, "10") >= 0]
		}
	}
	layer, err := b.tomcat(version)
	if err != nil {
		return nil, err
	}
	b.layers = append(b.layers, layer)
	kit.Say(b.Out, "Tomcat %s serves it", version)
	options := []string{`-Dgitd.port="${PORT:-8080}"`, "-Dgitd.app=" + quote(filepath.Join(b.app, dir)), "-Dcatalina.home=" + layer.Path, "-Dcatalina.base=" + layer.Path, "-Djava.io.tmpdir=/tmp",
		"-Djava.util.logging.config.file=" + layer.Path + "/conf/logging.properties", "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager",
		"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.io=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED", "--add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED"}
	if b.java < 9 {
		options = options[:len(options)-5]
	}
	options = append(options, "-cp", layer.Path+"/bin/bootstrap.jar:"+layer.Path+"/bin/tomcat-juli.jar", "org.apache.catalina.startup.Bootstrap", "start")
	return b.javaProcess(options...), nil
}

// tomcat is the layer with the server.
func (b *build) tomcat(version string) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "tomcat")
	if err != nil {
		return nil, err
	}
	key := kit.Key(tomcatLayout, version, tomcatServer, tomcatLogging)
	if reused, err := layer.Reuse(key); err != nil || reused {
		return layer, err
	}
	name := "tomcat-" + version
	address := fmt.Sprintf("%s/org/apache/tomcat/tomcat/%[2]s/tomcat-%[2]s.tar.gz", b.central(), version)
	sum, err := b.checksum(name, address+".sha512")
	if err != nil {
		return nil, tomcatMissing(err, version)
	}
	home, err := b.fetchTool(name, address, sum)
	if err != nil {
		return nil, tomcatMissing(err, version)
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, key); err != nil {
		return nil, err
	}
	skip := func(rel string) bool {
		return strings.HasPrefix(rel, "webapps") || strings.HasPrefix(rel, ".complete") || strings.HasSuffix(rel, ".bat") || rel == "logs" || rel == "temp" || rel == "work"
	}
	if err := kit.CopyTree(home, layer.Path, skip); err != nil {
		return nil, err
	}
	for file, text := range map[string]string{"conf/server.xml": tomcatServer, "conf/logging.properties": tomcatLogging} {
		if _, err := write(filepath.Join(layer.Path, file), strings.NewReader(text), maxIndex, 0); err != nil {
			return nil, err
		}
	}
	return layer, kit.WriteSBOM(layer.Layer, []kit.Package{{Name: "tomcat", Version: version, PURL: "pkg:maven/org.apache.tomcat/tomcat"}})
}

func tomcatMissing(err error, version string) error {
	var u *unreachable
	switch {
	case !errors.As(err, &u):
		return err
	case u.notFound:
		return kit.Errorf("BP_TOMCAT_VERSION names another", "Maven Central has no Tomcat %s", version)
	}
	return kit.Errorf("check that builds reach it", "Tomcat cannot be fetched from %s: %s", host(u.url), u.reason)
}
