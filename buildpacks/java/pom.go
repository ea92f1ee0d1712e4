package java

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// pom is what is read of a pom.xml.
type pom struct {
	Packaging  string       `xml:"packaging"`
	ArtifactID string       `xml:"artifactId"`
	Parent     coordinates  `xml:"parent"`
	Modules    []string     `xml:"modules>module"`
	Properties mapping      `xml:"properties"`
	Plugins    []plugin     `xml:"build>plugins>plugin"`
	Managed    []plugin     `xml:"build>pluginManagement>plugins>plugin"`
	Depends    []dependency `xml:"dependencies>dependency"`
}

type dependency struct {
	coordinates
	Scope string `xml:"scope"`
}

type coordinates struct {
	GroupID    string `xml:"groupId"`
	ArtifactID string `xml:"artifactId"`
	Version    string `xml:"version"`
}

type plugin struct {
	coordinates
	Configuration struct {
		Release   string `xml:"release"`
		Target    string `xml:"target"`
		JVMTarget string `xml:"jvmTarget"`
		MainClass string `xml:"mainClass"`
		Manifest  string `xml:"archive>manifest>mainClass"`
	} `xml:"configuration"`
}

// mapping takes elements of any name.
type mapping map[string]string

// UnmarshalXML implements xml.Unmarshaler.
func (m *mapping) UnmarshalXML(d *xml.Decoder, _ xml.StartElement) error {
	*m = mapping{}
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			var value string
			if err := d.DecodeElement(&value, &t); err != nil {
				return err
			}
			(*m)[t.Name.Local] = strings.TrimSpace(value)
		case xml.EndElement:
			return nil
		}
	}
}

const maxPOM = 4 << 20

// readPOM reads the pom.xml of a folder of the app.
func readPOM(app, module string) (*pom, error) {
	name := path.Join(module, "pom.xml")
	data, err := kit.ReadFile(app, name)
	if err != nil {
		return nil, err
	}
	if len(data) > maxPOM {
		return nil, kit.Errorf("", "%s is %d bytes long, at most %d are read", name, len(data), maxPOM)
	}
	p := &pom{}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // what is read of it is ASCII
	if err := d.Decode(p); err != nil {
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			return nil, kit.Errorf("correct it and push again", "%s is not valid XML, line %d: %s", name, syntax.Line, syntax.Msg)
		}
		return nil, kit.Errorf("correct it and push again", "%s cannot be read: %s", name, kit.First(err.Error()))
	}
	return p, nil
}

// value puts the properties of the pom into a text.
func (p *pom) value(text string) string {
	for range 5 {
		i := strings.Index(text, "${")
		if i < 0 {
			break
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			break
		}
		text = text[:i] + p.Properties[text[i+2:i+end]] + text[i+end+1:]
		if len(text) > 1000 {
			return ""
		}
	}
	return strings.TrimSpace(text)
}

// plugin finds a plugin of the build.
func (p *pom) plugin(artifact string) (plugin, bool) {
	for _, list := range [][]plugin{p.Plugins, p.Managed} {
		for _, x := range list {
			if x.ArtifactID == artifact {
				return x, true
			}
		}
	}
	return plugin{}, false
}

// depends tells whether the pom names a dependency, or has its parent, whose name begins so.
func (p *pom) depends(prefix string) bool {
	for _, d := range p.Depends {
		if strings.HasPrefix(d.ArtifactID, prefix) || strings.HasPrefix(d.GroupID, prefix) {
			return true
		}
	}
	return strings.HasPrefix(p.Parent.ArtifactID, prefix) || strings.HasPrefix(p.Parent.GroupID, prefix)
}

// mavenVersion goes by the compiler's target.
func mavenVersion(app string) (want, error) {
	p, err := readPOM(app, "")
	if errors.Is(err, fs.ErrNotExist) {
		return want{}, nil
	}
	if err != nil {
		return want{}, err
	}
	w := want{from: "pom.xml", atLeast: true}
	compiler, _ := p.plugin("maven-compiler-plugin")
	kotlin, _ := p.plugin("kotlin-maven-plugin")
	for _, text := range []string{compiler.Configuration.Release, compiler.Configuration.Target, p.Properties["maven.compiler.release"], p.Properties["java.version"],
		p.Properties["maven.compiler.target"], p.Properties["maven.compiler.source"], p.Properties["jdk.version"], p.Properties["release.version"], kotlin.Configuration.JVMTarget, p.Properties["kotlin.compiler.jvmTarget"]} {
		if v, ok := feature(p.value(text)); ok {
			w.version = max(w.version, v)
		}
	}
	w.newest = p.newest()
	if w.version == 0 {
		return want{newest: w.newest}, nil
	}
	return w, nil
}

// bootRuns and lombokRuns are the newest versions of Java that versions of Spring Boot run on, and that versions of Lombok compile with.
var (
	bootRuns   = []limit{{"3.1.0", 25}, {"3.0.0", 17}, {"2.7.16", 21}, {"2.5.5", 17}, {"2.1.0", 11}}
	lombokRuns = []limit{{"1.18.40", 25}, {"1.18.30", 21}, {"1.18.22", 17}, {"1.18.4", 11}}
)

// newest is the newest Java for what the pom names; 0 for any.
func (p *pom) newest() (v int) {
	lower := func(version string, table []limit) { v = lowest(v, newestFor(p.value(version), table)) }
	if p.Parent.GroupID == "org.springframework.boot" {
		lower(p.Parent.Version, bootRuns)
	}
	lower(p.Properties["lombok.version"], lombokRuns)
	for _, d := range p.Depends {
		if d.ArtifactID == "lombok" {
			lower(d.Version, lombokRuns)
		}
	}
	return v
}
