package java

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// The Maven of an app without a wrapper.
const mavenStandard = "3.9.16"

var (
	// mavenNumber finds a version in the address of a distribution.
	mavenNumber = pattern.New(`apache-maven-([0-9][0-9A-Za-z.-]*?)-bin\.(?:zip|tar\.gz)$`)
	mavenFolder = pattern.New(`/maven-([0-9][0-9.]*)[^/]*$`)
	safe        = pattern.New(`[^A-Za-z0-9._+-]`)
)

// maven builds the app with Maven.
func (b *build) maven() error {
	p, err := readPOM(b.app, "")
	if err != nil {
		return err
	}
	home, err := b.mavenHome()
	if err != nil {
		return err
	}
	args, err := b.mavenArgs(p)
	if err != nil {
		return err
	}
	run, err := b.mavenCommand(home)
	if err != nil {
		return err
	}
	kit.Say(b.Out, "mvn %s", strings.Join(args, " "))
	said, err := kit.Cmd{Args: append(run, args...), Dir: b.app, Env: b.env, Out: b.Out, Name: "mvn"}.Run()
	if err != nil {
		return b.reason(said, err)
	}
	return nil
}

// mavenArgs are the goals and options.
func (b *build) mavenArgs(p *pom) ([]string, error) {
	for _, name := range []string{"BP_MAVEN_BUILD_ARGUMENTS", "GOOGLE_BUILD_ARGS"} {
		if b.env[name] != "" {
			return b.env.ShellWords(name)
		}
	}
	args := append([]string{"-DskipTests"}, b.withoutGit()...)
	if w, err := mavenVersion(b.app); err == nil && w.version == 0 && p.Parent.ArtifactID == "" && len(p.Modules) == 0 && b.java > 8 {
		args = append(args, "-Dmaven.compiler.source=1.8", "-Dmaven.compiler.target=1.8") // older Mavens mean 1.5, which no compiler of today knows
	}
	for _, name := range []string{"MAVEN_CUSTOM_OPTS", "BP_MAVEN_ADDITIONAL_BUILD_ARGUMENTS"} {
		more, err := b.env.ShellWords(name)
		if err != nil {
			return nil, err
		}
		args = append(args, more...)
	}
	if profiles := b.env["BP_MAVEN_ACTIVE_PROFILES"]; profiles != "" {
		args = append(args, "-P", profiles)
	}
	if module := b.module(); module != "" {
		args = append(args, "-pl", module, "-am")
	}
	goals, err := b.env.ShellWords("MAVEN_CUSTOM_GOALS")
	if err != nil {
		return nil, err
	}
	if len(goals) > 0 {
		return append(args, goals...), nil
	}
	// What a Procfile or a program without packages of its own needs beside the app's classes.
	if b.wantsDependencies(p) {
		return append(args, "package", "dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=false"), nil
	}
	return append(args, "package"), nil
}

// withoutGit leaves out the plugins that ask the repository, which the build does not have: they would fail it.
func (b *build) withoutGit() (options []string) {
	text := kit.Text(b.app, "pom.xml")
	if kit.Exists(b.app, ".git") {
		return nil
	}
	if strings.Contains(text, "git-commit-id") {
		options = append(options, "-Dmaven.gitcommitid.skip=true")
	}
	if strings.Contains(text, "buildnumber-maven-plugin") {
		options = append(options, "-Dmaven.buildNumber.skip=true")
	}
	return options
}

// module is the part of a build of several that has the app, where the app says so; "" where it does not.
func (b *build) module() string {
	for _, name := range []string{"BP_MAVEN_BUILT_MODULE", "BP_GRADLE_BUILT_MODULE", "MAVEN_BUILT_MODULE", "GRADLE_BUILT_MODULE", "BP_SBT_BUILT_MODULE", "SBT_PROJECT", "GOOGLE_BUILDABLE"} {
		if m := strings.Trim(b.env[name], "/ "); m != "" && filepath.IsLocal(m) {
			return m
		}
	}
	return ""
}

// wantsDependencies tells whether the app's classes will not run without their libraries beside them: nothing in the build puts them together.
func (b *build) wantsDependencies(p *pom) bool {
	needed := slices.ContainsFunc(p.Depends, func(d dependency) bool { return d.Scope != "test" && d.Scope != "provided" })
	if !needed && p.Parent.ArtifactID == "" || len(p.Modules) > 0 || p.Packaging == "war" || p.Packaging == "pom" || procfile.HasWeb(b.app) {
		return false
	}
	for _, name := range []string{"spring-boot-maven-plugin", "maven-shade-plugin", "maven-assembly-plugin", "quarkus-maven-plugin", "micronaut-maven-plugin", "maven-dependency-plugin", "onejar-maven-plugin", "appassembler-maven-plugin",
		"vertx-maven-plugin", "payara-micro-maven-plugin", "wildfly-maven-plugin", "wildfly-jar-maven-plugin", "liberty-maven-plugin", "helidon-maven-plugin"} {
		if _, ok := p.plugin(name); ok {
			return false
		}
	}
	return !p.depends("io.helidon.applications")
}

// mavenHome fetches the Maven that the wrapper names, from Maven Central or where it says.
func (b *build) mavenHome() (string, error) {
	wrapper := properties(kit.Text(b.app, ".mvn/wrapper/maven-wrapper.properties"))
	version, sum := mavenStandard, ""
	address := wrapper["distributionUrl"]
	if address != "" {
		m := mavenNumber.FindStringSubmatch(address)
		if m == nil {
			return b.fetchMaven("maven-"+kit.Key(address)[:16], address, wrapper["distributionSha256Sum"])
		}
		version, sum = m[1], wrapper["distributionSha256Sum"]
	}
	name := "maven-" + version
	central := fmt.Sprintf("%s/org/apache/maven/apache-maven/%[2]s/apache-maven-%[2]s-bin", b.central(), version)
	// A checksum is that of the file that the wrapper names: usually the zip.
	ending := ".tar.gz"
	if sum != "" && strings.HasSuffix(address, ".zip") {
		ending = ".zip"
	}
	if h := host(address); address != "" && h != host(b.Places.Central) && h != "repo1.maven.org" && !strings.Contains(address, "archive.apache.org/dist/maven") && !strings.Contains(address, "dlcdn.apache.org/maven") {
		return b.fetchMaven(name, address, sum)
	}
	if sum == "" {
		var err error
		if sum, err = b.checksum(name, central+ending+".sha512"); err != nil {
			return "", mavenMissing(err)
		}
	}
	return b.fetchMaven(name, central+ending, sum)
}

// checksum fetches the checksum of a tool; "" if the tool is in the cache.
func (b *build) checksum(name, address string) (string, error) {
	if tools, err := b.cache.Dir("java-tools"); err != nil || kit.IsFile(tools, name, ".complete") {
		return "", err
	}
	text, err := b.text(address)
	var u *unreachable
	if errors.As(err, &u) && u.notFound && strings.HasSuffix(address, ".sha512") { // Maven Central had only this one for long
		text, err = b.text(strings.TrimSuffix(address, "sha512") + "sha1")
	}
	if errors.As(err, &u) && u.notFound {
		return "", nil // a mirror may have none: the wrapper does without as well
	}
	if err != nil {
		return "", err
	}
	sum, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return sum, nil
}

func (b *build) fetchMaven(name, address, sum string) (string, error) {
	home, err := b.fetchTool(name, address, sum)
	return home, mavenMissing(err)
}

// mavenMissing says why there is no Maven.
func mavenMissing(err error) error {
	var u *unreachable
	switch {
	case !errors.As(err, &u):
		return err
	case u.notFound:
		return kit.Errorf("correct distributionUrl in .mvn/wrapper/maven-wrapper.properties, or remove that file to build with Maven "+mavenStandard, "%s does not have the Maven that the wrapper names: %s", host(u.url), u.url)
	}
	return kit.Errorf("check that builds reach it; MAVEN_MIRROR_URL names a mirror of Maven Central", "Maven cannot be fetched from %s: %s", host(u.url), u.reason)
}

// central is Maven Central, or the mirror of it that the platform names.
func (b *build) central() string {
	if m := b.env["MAVEN_MIRROR_URL"]; m != "" {
		return strings.TrimRight(m, "/")
	}
	return b.Places.Central
}

// mavenCommand is the program with what it needs to know of this build: the folder of packages, proxies, mirrors and certificates.
func (b *build) mavenCommand(home string) ([]string, error) {
	repository, err := b.cache.Dir("java-maven")
	if err != nil {
		return nil, err
	}
	tools, err := b.cache.Dir("java-tools")
	if err != nil {
		return nil, err
	}
	settings := filepath.Join(tools, "settings.xml")
	if err := os.WriteFile(settings, b.mavenSettings(), 0o644); err != nil {
		return nil, err
	}
	if err := b.jvmOptions("MAVEN_OPTS"); err != nil {
		return nil, err
	}
	b.env["M2_HOME"], b.env["MAVEN_HOME"] = home, home
	args := []string{filepath.Join(home, "bin", "mvn"), "-B", "-gs", settings, "-Dmaven.repo.local=" + repository, "-Dstyle.color=never"}
	if m := mavenFolder.FindStringSubmatch(home); m != nil && compare(m[1], "3.6.1") < 0 { // which does not know the option
		args = append(args, "-Dorg.slf4j.simpleLogger.log.org.apache.maven.cli.transfer.Slf4jMavenTransferListener=warn")
	} else {
		args = append(args, "-ntp")
	}
	for _, f := range []string{b.env["MAVEN_SETTINGS_PATH"], b.env["BP_MAVEN_SETTINGS_PATH"], "settings.xml"} {
		if f != "" && filepath.IsLocal(f) && kit.IsFile(b.app, f) {
			return append(args, "-s", filepath.Join(b.app, f)), nil
		}
	}
	return args, nil
}

// jvmOptions adds what every JVM of a build tool needs to a variable: the certificates, a heap that fits into the build, and a quick start.
func (b *build) jvmOptions(name string) error {
	tools, err := b.cache.Dir("java-tools")
	if err != nil {
		return err
	}
	store := filepath.Join(tools, "authorities.jks")
	if err := b.trust(store); err != nil {
		return err
	}
	options := []string{"-XX:MaxRAMPercentage=60", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=" + storePassword, "-Djava.awt.headless=true"}
	options = append(options, b.proxyOptions()...)
	if own := b.env[name]; own != "" {
		options = append(options, own)
	}
	b.env[name] = strings.Join(options, " ")
	return nil
}

// proxy is one that the environment names.
type proxy struct {
	Protocol, Host, Port, User, Password string
}

// proxies reads the variables of the proxies.
func (b *build) proxies() (list []proxy) {
	for _, protocol := range []string{"http", "https"} {
		text := ""
		for _, name := range []string{protocol + "_proxy", strings.ToUpper(protocol) + "_PROXY", "all_proxy", "ALL_PROXY"} {
			if text = b.env[name]; text != "" {
				break
			}
		}
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = "80"
		}
		password, _ := u.User.Password()
		list = append(list, proxy{protocol, u.Hostname(), port, u.User.Username(), password})
	}
	return list
}

// direct lists the hosts that no proxy is asked for, as Java writes them.
func (b *build) direct() string {
	text := b.env["no_proxy"]
	if text == "" {
		text = b.env["NO_PROXY"]
	}
	var list []string
	for _, h := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		if strings.HasPrefix(h, ".") {
			list = append(list, "*"+h)
			continue
		}
		list = append(list, h, "*."+h)
	}
	return strings.Join(list, "|")
}

// proxyOptions are the system properties for the proxies.
func (b *build) proxyOptions() (options []string) {
	for _, p := range b.proxies() {
		options = append(options, "-D"+p.Protocol+".proxyHost="+p.Host, "-D"+p.Protocol+".proxyPort="+p.Port)
	}
	if d := b.direct(); d != "" && len(options) > 0 && !strings.ContainsAny(d, " '\"") {
		options = append(options, "-Dhttp.nonProxyHosts="+d)
	}
	return options
}

// mavenSettings are the global settings: the app's own go before them.
func (b *build) mavenSettings() []byte {
	type xmlProxy struct {
		ID       string `xml:"id"`
		Active   bool   `xml:"active"`
		Protocol string `xml:"protocol"`
		Host     string `xml:"host"`
		Port     string `xml:"port"`
		User     string `xml:"username,omitempty"`
		Password string `xml:"password,omitempty"`
		Direct   string `xml:"nonProxyHosts,omitempty"`
	}
	type xmlMirror struct {
		ID  string `xml:"id"`
		Of  string `xml:"mirrorOf"`
		URL string `xml:"url"`
	}
	var s struct {
		XMLName xml.Name    `xml:"settings"`
		Proxies []xmlProxy  `xml:"proxies>proxy"`
		Mirrors []xmlMirror `xml:"mirrors>mirror"`
	}
	for _, p := range b.proxies() {
		s.Proxies = append(s.Proxies, xmlProxy{ID: "gitd-" + p.Protocol, Active: true, Protocol: p.Protocol, Host: p.Host, Port: p.Port, User: p.User, Password: p.Password, Direct: b.direct()})
	}
	if m := b.env["MAVEN_MIRROR_URL"]; m != "" {
		s.Mirrors = append(s.Mirrors, xmlMirror{"gitd", "central", m})
	}
	data, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("java: settings: %v", err)) // strings in a struct: cannot fail
	}
	return slices.Concat(data, []byte("\n"))
}
