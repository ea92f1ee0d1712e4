package house

// Reasons that several exceptions share.
const (
	hot   = "a loop that runs for each byte or object of a push: a call in it is measured"
	story = "a test that tells one story in order; its steps build on one another"
	list  = "a list: each entry is one case, made by code"
)

// longFiles are the files that are longer than others may be, and why.
var longFiles = map[string]string{
	"internal/repository/pack/inflate.go": hot,
}

// longFunctions are the functions that are longer than others may be, as "file name", and why.
var longFunctions = map[string]string{
	"internal/repository/pack/inflate.go run":             hot,
	"internal/repository/pack/inflate.go symbols":         hot,
	"internal/repository/pack/inflate.go fastSymbols":     hot,
	"internal/repository/pack/inflatetable.go buildTable": hot,
	"internal/repository/pack/scan.go scan":               hot,
	"internal/repository/pack/scan.go entry":              hot,
	"internal/repository/pack/verify.go verify":           hot,
	"internal/repository/pack/fsck/tree.go Tree":          hot,

	"internal/receive/hostile_test.go hostilePacks":         list,
	"internal/repository/pack/hostile_test.go hostilePacks": list,
	"internal/repository/pack/generated_test.go generate":   list,
	"internal/repository/pack/corpus/large.go large":        list,

	"internal/build/builder/cache/prune_test.go TestPrune":               story,
	"internal/build/builder/maker/layer_test.go TestLayerOfTree":         story,
	"internal/build/builder/maker/publish_test.go TestCreateBuilder":     story,
	"internal/receive/crash_pack_test.go afterCrash":                     story,
	"internal/receive/otherclients_test.go TestProtocolWithOtherClients": story,
	"internal/receive/server_test.go TestSource":                         story,
	"internal/receive/submodules_test.go TestSubmodulesOverHTTPS":        story,
	"internal/registry/api/driver_test.go TestDirectory":                 story,
	"internal/repository/pack/bench_test.go BenchmarkIndex":              story,
	"internal/sandbox/isolation_test.go TestIsolation":                   story,
	"internal/sshd/session_test.go TestCommands":                         story,
	"test/knative/build_hostile_test.go TestBuildHostile":                story,
	"test/knative/install_test.go TestInstall":                           story,
	"test/knative/instance_test.go TestInstances":                        story,
	"test/knative/platform_test.go TestNamespacePerApp":                  story,
	"test/knative/platform_test.go TestOpenErrors":                       story,
}
