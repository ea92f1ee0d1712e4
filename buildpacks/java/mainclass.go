package java

import (
	"archive/zip"
	"bytes"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"
)

// maxClasses bounds the search for a main class, maxClass the size of one.
const (
	maxClasses = 5000
	maxClass   = 4 << 20
)

// findMain finds the main class of a module whose jar names none: what the build's plugins say, else the only class with a main method.
func (b *build) findMain(module string, j *jar) string {
	for _, class := range b.namedMains(module) {
		if hasClass(j.path, class) {
			return class
		}
	}
	z, err := zip.OpenReader(j.path)
	if err != nil {
		return ""
	}
	defer z.Close()
	var found []string
	for i, f := range z.File {
		if i > maxClasses {
			break
		}
		if !strings.HasSuffix(f.Name, ".class") || strings.Contains(path.Base(f.Name), "$") || f.UncompressedSize64 > maxClass {
			continue
		}
		if isMain(f) {
			found = append(found, strings.ReplaceAll(strings.TrimSuffix(f.Name, ".class"), "/", "."))
		}
	}
	slices.Sort(found)
	if len(found) == 1 {
		return found[0]
	}
	for _, end := range []string{"Main", "MainKt", "App", "AppKt", "Application", "ApplicationKt", "Server", "ServerKt", "WebApp", "Web"} {
		match := slices.DeleteFunc(slices.Clone(found), func(c string) bool { return !strings.HasSuffix(c, end) })
		if len(match) == 1 {
			return match[0]
		}
	}
	return ""
}

var mainSetting = pattern.New(`(?:mainClass(?:Name)?|Main-Class['"]?)\s*(?:=|\.set\(|\(|:)?\s*['"]([\w.$]+)['"]`)

// namedMains are the classes that the build's files name.
func (b *build) namedMains(module string) (list []string) {
	if p, err := readPOM(b.app, module); err == nil {
		for _, x := range p.Plugins {
			list = append(list, p.value(x.Configuration.MainClass), p.value(x.Configuration.Manifest))
		}
		for _, k := range []string{"exec.mainClass", "main.class", "mainClass", "start-class", "main.verticle"} {
			list = append(list, p.Properties[k])
		}
	}
	for _, f := range []string{"build.gradle", "build.gradle.kts", "build.sbt"} {
		if m := mainSetting.FindStringSubmatch(textIn(b.app, module, f)); m != nil {
			list = append(list, m[1])
		}
	}
	return slices.DeleteFunc(list, func(c string) bool { return c == "" })
}

func hasClass(file, class string) bool {
	z, err := zip.OpenReader(file)
	if err != nil {
		return false
	}
	defer z.Close()
	name := strings.ReplaceAll(class, ".", "/") + ".class"
	return slices.ContainsFunc(z.File, func(f *zip.File) bool { return f.Name == name })
}

// isMain tells by a class's constants whether it may have a method main(String[]).
func isMain(f *zip.File) bool {
	in, err := f.Open()
	if err != nil {
		return false
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxClass))
	if err != nil || !bytes.HasPrefix(data, []byte{0xca, 0xfe, 0xba, 0xbe}) {
		return false
	}
	return bytes.Contains(data, []byte("\x01\x00\x04main")) && bytes.Contains(data, []byte("\x01\x00\x16([Ljava/lang/String;)V"))
}
