package dotnet

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/fetch"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// releasesServer is where the .NET project publishes; settingMirror names a mirror that keeps its paths.
const (
	releasesServer = "https://builds.dotnet.microsoft.com"
	settingMirror  = "DOTNET_MIRROR"
	indexPath      = "/dotnet/release-metadata/releases-index.json"
)

const (
	maxIndex   = 32 << 20
	maxArchive = 1 << 30
	// maxAge is how old an index may be that is not asked for again.
	maxAge = 24 * time.Hour
)

// feed is what there is of .NET: the index of its releases, and the archives that it names with their digests.
type feed struct {
	server string
	client *fetch.Client
	env    kit.Env
	out    io.Writer
	dir    string // for the indexes, in the app's cache
	now    func() time.Time
	list   []channel // the index, once it was read
}

// channel is a line of releases, as the index has it.
type channel struct {
	Version string `json:"channel-version"` // 10.0
	Phase   string `json:"support-phase"`   // active, maintenance, preview, go-live, eol
	Type    string `json:"release-type"`    // lts, sts
	End     string `json:"eol-date"`        // 2028-11-14; "" where it is not known yet
	File    string `json:"releases.json"`
}

// file is an archive.
type file struct {
	Name string `json:"name"`
	RID  string `json:"rid"`
	URL  string `json:"url"`
	Hash string `json:"hash"`
}

// component is one part of a release.
type component struct {
	Version string `json:"version"`
	Runtime string `json:"runtime-version"` // of an SDK: the runtime in it
	Files   []file `json:"files"`
}

// releases are those of a channel, the newest first.
type releases struct {
	Releases []struct {
		Runtime *component  `json:"runtime"`
		ASPNET  *component  `json:"aspnetcore-runtime"`
		SDK     *component  `json:"sdk"`
		SDKs    []component `json:"sdks"`
	} `json:"releases"`
}

func openFeed(cache *kit.Cache, env kit.Env, out io.Writer, now func() time.Time) (*feed, error) {
	dir, err := cache.Dir("dotnet-index")
	if err != nil {
		return nil, err
	}
	f := &feed{server: strings.TrimRight(env[settingMirror], "/"), client: fetch.New(env), env: env, out: out, dir: dir, now: now}
	if f.server == "" {
		f.server = releasesServer
	}
	return f, nil
}

// mirrored is an address on the mirror, where one is set.
func (f *feed) mirrored(address string) string {
	if rest, ok := strings.CutPrefix(address, releasesServer); ok {
		return f.server + rest
	}
	return address
}

// read reads an index: at most once in maxAge from the server, and an older one where that does not answer.
func (f *feed) read(address, name string, into any) error {
	kept := filepath.Join(f.dir, kit.Key(f.server)[:12]+"-"+name+".json")
	if info, err := os.Stat(kept); err == nil {
		if age := f.now().Sub(info.ModTime()); age < maxAge && age > -time.Hour && readJSON(kept, into) == nil {
			return nil
		}
	}
	text, err := f.client.Text(f.mirrored(address), maxIndex)
	if err == nil {
		if json.Unmarshal(text, into) != nil {
			return kit.Errorf("see what stands between: a proxy or a mirror may answer in its place", "%s answers with what is no index of .NET's releases", f.mirrored(address))
		}
		return errors.Join(os.WriteFile(kept, text, 0o644), os.Chtimes(kept, f.now(), f.now()))
	}
	if readJSON(kept, into) == nil {
		kit.Say(f.out, "Warning: %v; going on with the index of an earlier build", err)
		return nil
	}
	return err
}

func readJSON(file string, into any) error {
	data, err := kit.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// channels lists what there is, the newest first.
func (f *feed) channels() ([]channel, error) {
	if f.list != nil {
		return f.list, nil
	}
	var index struct {
		Channels []channel `json:"releases-index"`
	}
	if err := f.read(releasesServer+indexPath, "releases-index", &index); err != nil {
		return nil, f.words(err)
	}
	slices.SortStableFunc(index.Channels, func(a, b channel) int { return kit.CompareVersions(numbers(b.Version), numbers(a.Version)) })
	f.list = index.Channels
	return f.list, nil
}

// words says what to do where the server cannot be reached.
func (f *feed) words(err error) error {
	if u, ok := errors.AsType[*fetch.Unreachable](err); ok {
		return kit.Errorf("let builds reach it, set "+settingMirror+" for the server to a mirror, or push what dotnet publish --self-contained -r linux-x64 makes, which needs nothing of it", ".NET cannot be had: %v", u)
	}
	if errors.Is(err, fetch.ErrMissing) {
		return kit.Errorf("see what "+settingMirror+" names: a mirror keeps the paths of "+releasesServer, ".NET cannot be had: %v", err)
	}
	return err
}

// releases reads those of a channel. There is none for one that the index does not have.
func (f *feed) releases(version string) (r releases, found bool, err error) {
	list, err := f.channels()
	if err != nil {
		return r, false, err
	}
	i := slices.IndexFunc(list, func(c channel) bool { return c.Version == version })
	if i < 0 {
		return r, false, nil
	}
	address := list[i].File
	if address == "" {
		address = releasesServer + "/dotnet/release-metadata/" + version + "/releases.json"
	}
	if err := f.read(address, "releases-"+version, &r); err != nil {
		return r, false, f.words(err)
	}
	return r, true, nil
}

// sdks are those of a channel, each once.
func (r releases) sdks() (list []component) {
	add := func(c component) {
		if c.archive("dotnet-sdk-") != nil && !slices.ContainsFunc(list, func(o component) bool { return o.Version == c.Version }) {
			list = append(list, c)
		}
	}
	for _, one := range r.Releases {
		if one.SDK != nil {
			add(*one.SDK)
		}
		for _, c := range one.SDKs {
			add(c)
		}
	}
	return list
}

// runtimes are those of a channel, the newest first: with ASP.NET Core's, or without.
func (r releases) runtimes(aspnet bool) (list []component) {
	for _, one := range r.Releases {
		c, name := one.Runtime, "dotnet-runtime-"
		if aspnet {
			c, name = one.ASPNET, "aspnetcore-runtime-"
		}
		if c != nil && c.archive(name) != nil {
			list = append(list, *c)
		}
	}
	slices.SortStableFunc(list, func(a, b component) int { return compare(b.Version, a.Version) })
	return list
}

// compare compares versions: a preview is older than its release.
func compare(a, b string) int {
	if c := kit.CompareVersions(numbers(a), numbers(b)); c != 0 {
		return c
	}
	switch pa, pb := strings.Contains(a, "-"), strings.Contains(b, "-"); {
	case pa && !pb:
		return -1
	case pb && !pa:
		return 1
	}
	return strings.Compare(a, b)
}

// machine is how .NET calls this system.
func machine() string {
	return "linux-" + map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
}

// archive is the component's for this machine; nil for none.
func (c component) archive(prefix string) *file {
	for i, f := range c.Files {
		if f.RID == machine() && f.Name == prefix+machine()+".tar.gz" && f.Hash != "" {
			return &c.Files[i]
		}
	}
	return nil
}

// unpack downloads an archive, checks it, and lays it out in dir, an empty folder.
func (f *feed) unpack(a *file, dir string, skip ...string) error {
	archive := dir + ".tar.gz"
	defer os.Remove(archive)
	if err := f.client.File(f.mirrored(a.URL), a.Hash, archive, maxArchive); err != nil {
		return f.words(err)
	}
	return fetch.Unpack(f.env, f.out, archive, dir, "0", skip...)
}

// ended tells whether a channel gets fixes no more, and since when.
func (f *feed) ended(version string) (since string, yes bool) {
	list, err := f.channels()
	if err != nil {
		return "", false
	}
	for _, c := range list {
		if c.Version == version {
			end, err := time.Parse(time.DateOnly, c.End)
			return c.End, c.Phase == "eol" || err == nil && f.now().After(end.AddDate(0, 0, 1))
		}
	}
	return "", false
}
