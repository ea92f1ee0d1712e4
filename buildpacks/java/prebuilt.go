package java

import (
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// startArchive starts an app that is built already.
func (b *build) startArchive() (*libcnb.Process, error) {
	if procfile.HasWeb(b.app) {
		return nil, nil
	}
	switch f := b.source.file; f {
	case "WEB-INF":
		b.slices = append(b.slices, libcnb.Slice{Paths: []string{"WEB-INF/lib/**"}})
		if main := mainClassOf(kit.Text(b.app, manifestName)); main != "" {
			return b.javaProcess("-cp", ".", quote(main)), nil // a war of Spring Boot
		}
		return b.serveWar(".", b.jakarta())
	case manifestName:
		b.slices = append(b.slices, libcnb.Slice{Paths: []string{"BOOT-INF/lib/**", "org/springframework/boot/loader/**"}})
		return b.javaProcess("-cp", ".", quote(mainClassOf(kit.Text(b.app, f)))), nil
	default:
		path := filepath.Join(b.app, f)
		j, err := readArchive(path)
		if err != nil {
			return nil, err
		}
		p, ok, err := b.programOf(".", path)
		if err != nil {
			return nil, err
		}
		if !ok || p.rank == aLibrary {
			return nil, kit.Errorf("add a Procfile with a line such as web: java -cp "+f+" Main", "%s says no main class, and is no war", filepath.Base(j.path))
		}
		return p.start()
	}
}

// jakarta tells whether the unpacked war at the root is one of Jakarta EE 9 or later.
func (b *build) jakarta() bool {
	libs, _ := filepath.Glob(filepath.Join(b.app, "WEB-INF/lib/*.jar")) // constant pattern
	for _, l := range libs {
		if jakartaName(l) {
			return true
		}
	}
	if strings.Contains(kit.Text(b.app, "WEB-INF/web.xml"), "jakarta") {
		return true
	}
	if class := firstClass(filepath.Join(b.app, "WEB-INF/classes")); class != "" {
		return strings.Contains(kit.Text(class), "jakarta/servlet")
	}
	return false
}

// textIn reads a text file of a module.
func textIn(app, module, file string) string { return kit.Text(app, module, file) }
