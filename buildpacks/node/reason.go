package node

import (
	"errors"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// What the package managers, Node.js and build tools say, where a person can do something about it.
var (
	notInSync      = pattern.New("can only install (?:packages )?(?:when|with an existing)|`npm ci` can only install")
	missingInLock  = pattern.New(`(?m)^npm (?:error|ERR!) (?:Missing: (\S+) from lock file|Invalid: lock file's (\S+) does not satisfy (\S+))`)
	pnpmStale      = pattern.New(`ERR_PNPM_OUTDATED_LOCKFILE`)
	pnpmDiffers    = pattern.New(`(?m)^\s*\* (\d+ dependenc(?:y|ies) (?:was|were) (?:added|removed): .+|\d+ dependenc(?:y|ies) are mismatched:)\s*(?:\n\s*- (\S+ .+))?`)
	otherStale     = pattern.New(`lockfile needs to be updated, but|YN0028|lockfile had changes, but lockfile is frozen`)
	berryAdds      = pattern.New(`YN0028[^\n]*?[+-]\s+"?([@\w./-]+)"?(?:@|: "?npm:)`)
	peerConflict   = pattern.New(`code ERESOLVE`)
	peerOf         = pattern.New(`(?m)^npm (?:error|ERR!) (?:peer \S+ from |node_modules/\S+\s+)?.*?peer (\S+@"[^"]+") from (\S+)`)
	notFound404    = pattern.New(`(?:404\s+'?([@\w./-]+@[^' ]+)'? is not in this registry|The requested resource '([^']+)' could not be found|ERR_PNPM_FETCH_404[^\n]*GET (\S+)|error Couldn't find package "([^"]+)"|error: (?:package )?"([^"]+)" (?:not found|failed to resolve))`)
	noVersion      = pattern.New(`(?:No matching version found for (\S+?)\.?$|ERR_PNPM_NO_MATCHING_VERSION\s+No matching version found for (\S+)|Couldn't find any versions for "([^"]+)" that matches "([^"]+)")`)
	unauthorised   = pattern.New(`(?:code E40[13]|ERR_PNPM_FETCH_40[13]|YN0041|YN0035[^\n]*40[13])`)
	unreachable    = pattern.New(`(?:getaddrinfo (?:ENOTFOUND|EAI_AGAIN) |Could not resolve host(?:name)?:? |connect (?:ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH) |Failed to connect to |unable to connect to )([\w.:-]+)`)
	unreachableURL = pattern.New(`(?:fetch failed|Failed to (?:fetch|download)|request to|unable to access|Error while requesting resource|ConnectionRefused|DNSException)[^\n]{0,80}?['"\s](?:git\+)?(?:https?|ssh)://(?:git@)?([\w.-]+)`)
	googleFonts    = pattern.New("Failed to fetch [`'\"]?([\\w ]+?)[`'\"]? from Google Fonts|fonts\\.googleapis\\.com")
	outOfHeap      = pattern.New(`JavaScript heap out of memory|Reached heap limit`)
	noProgram      = pattern.New(`(?m)(?:^(?:/usr)?(?:/bin/)?(?:sh|bash): (?:line )?\d+: (?:exec: )?|command not found: |^bun: command not found: )([@\w./-]+)(?:: (?:command )?not found)?\s*$`)
	noModule       = pattern.New(`(?:Cannot find (?:module|package)|Can't resolve|Could not resolve|failed to resolve import) ['"]([^'"]+)['"]`)
	noOpenSSL      = pattern.New(`ERR_OSSL_EVP_UNSUPPORTED|digital envelope routines::unsupported`)
	npmScript      = pattern.New(`(?m)^npm (?:error|ERR!) path \S*?node_modules/(\S+)$`)
	pnpmScript     = pattern.New(`(?m)node_modules/\.pnpm/\S+?/node_modules/(\S+?) (?:pre|post)?install[$:]`)
	yarnScript     = pattern.New(`(?m)^error \S*?node_modules/(\S+?): Command failed|YN0009[^\n]*?([@\w./-]+)@[^\n]*couldn't be built`)
	engineStrict   = pattern.New(`(?:Not compatible with your version of node/npm: (\S+)|The engine "node" is incompatible with this module[^\n]*|error ([^\n]*The engine "node" is incompatible[^\n]*)|ERR_PNPM_UNSUPPORTED_ENGINE)`)
)

// reason puts the cause of a failure, which is some lines above the tool's last one, into the error.
func (b *build) reason(said string, err error) error {
	var e *kit.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	for _, find := range []func(string, *kit.Error) error{b.lockFiles, b.memory, b.packagesThere, b.hosts, b.programsThere} {
		if found := find(said, e); found != nil {
			return found
		}
	}
	m, unknown := brokenInside.FindStringSubmatch(said), unknownOption.FindStringSubmatch(said)
	if m == nil {
		m = unknown
	}
	switch {
	case m != nil && b.tool.lock == "" && e.Next == "":
		return kit.Errorf("without a lock file each build takes the newest packages, and these may not fit each other: commit the lock file of a computer where it works", "%s: %s", e.Message, m[1])
	case unknown != nil:
		return kit.Errorf(e.Next, "%s: %s", e.Message, unknown[1])
	}
	return err
}

// unknownOption is what webpack and its plugins say of an option that they do not have. All those that they have follow, hundreds of lines.
var unknownOption = pattern.New(`(ValidationError: Invalid (?:options|configuration) object\. [^\n]+ does not match the API schema)`)

// brokenInside is an error in the code of a package.
var brokenInside = pattern.New(`(?m)((?:TypeError|ReferenceError|SyntaxError): [^\n]+)\n\s+at [^\n]*/node_modules/`)

// first is the first group of a match that is not empty.
func first(match []string) string {
	for _, g := range match[min(1, len(match)):] {
		if g = strings.TrimSpace(g); g != "" {
			return g
		}
	}
	return ""
}

// lockFiles finds a lock file that does not fit package.json, and packages that do not fit each other.
func (b *build) lockFiles(said string, e *kit.Error) error {
	next := "run " + b.tool.program() + " install, and commit " + b.tool.lock
	if notInSync.MatchString(said) || missingInLock.MatchString(said) {
		m := missingInLock.FindStringSubmatch(said)
		switch {
		case m == nil:
		case m[1] != "":
			return kit.Errorf(next, "%s does not fit package.json: it lacks %s", b.tool.lock, m[1])
		default:
			return kit.Errorf(next, "%s does not fit package.json: it has %s instead of %s", b.tool.lock, m[2], m[3])
		}
		return kit.Errorf(next, "%s does not fit package.json", b.tool.lock)
	}
	if pnpmStale.MatchString(said) || otherStale.MatchString(said) {
		what := ""
		if m := pnpmDiffers.FindStringSubmatch(said); m != nil {
			what = ": " + strings.TrimSuffix(strings.TrimSpace(m[1]), ":") + strings.TrimRight(" "+m[2], " ")
		} else if m := berryAdds.FindStringSubmatch(said); m != nil {
			what = ": " + m[1]
		}
		return kit.Errorf(next, "%s does not fit package.json%s", b.tool.lock, what)
	}
	if peerConflict.MatchString(said) {
		what := ""
		_, conflict, found := strings.Cut(said, "Could not resolve dependency:") // those before it are met
		if m := peerOf.FindStringSubmatch(kit.Pick(found, conflict, said)); m != nil {
			what = ": " + m[2] + " needs " + strings.ReplaceAll(m[1], `"`, "")
		}
		return kit.Errorf("choose versions that do, or write legacy-peer-deps=true into .npmrc and commit it", "%s: the versions in package.json do not fit each other%s", e.Message, what)
	}
	return nil
}

// memory finds a heap that was too small.
func (b *build) memory(said string, e *kit.Error) error {
	if !outOfHeap.MatchString(said) {
		return nil
	}
	limit := "Node.js's heap was full"
	if v := heapFlag.FindStringSubmatch(b.env["NODE_OPTIONS"]); v != nil {
		limit += " (" + v[1] + " MB)"
	}
	return kit.Errorf("ask the operator for more memory for builds: gitd serve --build-memory 4Gi", "%s: %s", e.Message, limit)
}

// packagesThere finds packages and versions that the registry does not have, and packages whose own scripts fail.
func (b *build) packagesThere(said string, e *kit.Error) error {
	if m := noVersion.FindStringSubmatch(lastLines(said)); m != nil {
		what := first(m)
		if m[3] != "" {
			what = m[3] + "@" + m[4]
		}
		return kit.Errorf("choose a version that is there: npm view NAME versions", "%s: the package registry has no %s", e.Message, what)
	}
	if m := notFound404.FindStringSubmatch(said); m != nil {
		return kit.Errorf("correct its name; a private package needs .npmrc with its registry", "%s: the package registry has no %s", e.Message, first(m))
	}
	if unauthorised.MatchString(said) {
		return kit.Errorf("commit .npmrc with //HOST/:_authToken=${NPM_TOKEN}, and set NPM_TOKEN for the build", "%s: the package registry wants to know who asks", e.Message)
	}
	if m := engineStrict.FindStringSubmatch(said); m != nil && b.tool.kind != "" {
		return kit.Errorf("set engines.node in package.json to what its packages need", "%s: a package does not take Node.js %s%s", e.Message, b.node.version, strings.TrimRight(": "+first(m), ": "))
	}
	for _, p := range []*pattern.Pattern{npmScript, pnpmScript, yarnScript} {
		m := p.FindStringSubmatch(said)
		if m == nil {
			continue
		}
		if l, ok := kit.FindLack(said); ok {
			return kit.Errorf(l.Next(), "%s: the package %s is compiled, and lacks %s", e.Message, first(m), l.What)
		}
		if host := hostOf(said); host != "" {
			return kit.Errorf("allow it, or take a version that needs no download", "%s: the install script of the package %s cannot reach %s", e.Message, first(m), host)
		}
		return kit.Errorf("its lines above say why", "%s: the install script of the package %s failed", e.Message, first(m))
	}
	return nil
}

// hostOf is the host that could not be reached; "" for none.
func hostOf(said string) string {
	if googleFonts.MatchString(said) {
		return "fonts.googleapis.com"
	}
	if m := unreachable.FindStringSubmatch(said); m != nil {
		return m[1]
	}
	if m := unreachableURL.FindStringSubmatch(said); m != nil {
		return m[1]
	}
	return ""
}

// hosts finds a host that could not be reached.
func (b *build) hosts(said string, e *kit.Error) error {
	host := hostOf(said)
	if host == "" {
		return nil
	}
	next := "see that builds reach it, or do without it"
	if host == "fonts.googleapis.com" {
		next = "see that builds reach it, or keep the fonts in the app (next/font/local)"
	}
	return kit.Errorf(next, "%s: %s cannot be reached from the build", e.Message, host)
}

// programsThere finds programs and modules that are missing.
func (b *build) programsThere(said string, e *kit.Error) error {
	if m := noProgram.FindStringSubmatch(said); m != nil {
		name := m[1]
		pkg := name
		if p, ok := packageOf[name]; ok {
			pkg = p
		}
		next := "add the package " + pkg + " to devDependencies"
		if systemPrograms[name] != "" {
			next = "add the Debian package " + systemPrograms[name] + ": [io.gitd.build] packages in project.toml"
		}
		return kit.Errorf(next, "%s: the program %s is not there", e.Message, name)
	}
	if noOpenSSL.MatchString(said) {
		return kit.Errorf(`set "engines": {"node": "16.x"} in package.json, or update webpack`, "%s: its webpack uses a hash that Node.js %s does not have", e.Message, b.node.version)
	}
	if m := noModule.FindStringSubmatch(said); m != nil && !strings.HasPrefix(m[1], ".") && !strings.HasPrefix(m[1], "/") && !strings.HasPrefix(m[1], "@/") && !strings.HasPrefix(m[1], "~") {
		if name := moduleName(m[1]); name != m[1] && kit.IsFile(b.app, "node_modules", name, "package.json") {
			return kit.Errorf("a lock file keeps the versions that fit each other: commit the one of a computer where it works", "%s: the installed version of the package %s has no %s", e.Message, name, strings.TrimPrefix(m[1], name+"/"))
		}
		return kit.Errorf("add it to package.json: "+b.tool.program()+kit.Pick(b.tool.kind == "npm", " install ", " add ")+moduleName(m[1]), "%s: the package %s is not installed", e.Message, moduleName(m[1]))
	}
	return nil
}

// systemPrograms are the Debian packages of programs that scripts call.
var systemPrograms = map[string]string{"cmake": "cmake", "ffmpeg": "ffmpeg", "convert": "imagemagick", "curl": "curl", "wget": "wget", "zip": "zip", "unzip": "unzip", "rsync": "rsync", "jq": "jq", "php": "php-cli", "ruby": "ruby",
	"java": "default-jre-headless", "hugo": "hugo", "protoc": "protobuf-compiler"}

// moduleName is the package of what is imported: "@a/b" of "@a/b/c".
func moduleName(path string) string {
	parts := strings.Split(path, "/")
	n := 1
	if strings.HasPrefix(path, "@") {
		n = 2
	}
	return strings.Join(parts[:min(n, len(parts))], "/")
}

// lastLines lets a pattern that ends with a line's end see each line.
func lastLines(said string) string {
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); noVersion.MatchString(line) {
			return line
		}
	}
	return ""
}
