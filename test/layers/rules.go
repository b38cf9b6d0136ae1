// Package layers holds the rules of who may import whom, and a test that
// reads the whole module and names both packages where one is broken.
//
// Imports point down only, and rows do not import sideways. What a package
// needs from beside it, it asks for with a small interface of its own, and
// internal/app fits the two together. Test files and packages below test/
// may import what they like; nobody but they may import test/.
package layers

// module is the first element of all our import paths.
const module = "barid"

// rows lists every room of the module, uppermost row first. A path that ends
// in "/..." means everything below it, one room for each name.
var rows = [][]string{
	{"cmd/..."},
	{"internal/app"},
	{"imap", "imap/push", "smtp/submit", "smtp/receive", "smtp/transmit", "storage/expiry", "storage/cmdeploy", "web"},
	{"smtp/intake"}, // what the ways into the relay have in common
	{"smtp/outbox"}, // what all ways out of the relay have in common
	{"storage/local", "storage/storetest", "smtp/filter", "smtp/queue", "smtp/notify", "smtp/wire", "relay", "relay/derp", "turn", "acme"},
	{"smtp/header", "dkim", "storage/maildir", "storage/metadata", "imap/wire", "relay/wire"},
	{"storage"}, // words, as smtp is: the rooms above speak them
	{"smtp"},
	{"internal/..."},
}

// sideways is what the parts of one row may have from each other after all.
var sideways = map[string][]string{
	"internal/admin":       leaves,
	"internal/netserve":    leaves,
	"internal/resolver":    leaves,
	"internal/machine":     leaves,
	"internal/preflight":   leaves,
	"internal/appversions": leaves,
	"internal/zone":        append([]string{"internal/resolver"}, leaves...), // it asks in the same way
	"internal/invites":     append([]string{"internal/journal"}, leaves...),  // its file goes through the seam to the disk
}

// leaves import nothing of ours.
var leaves = []string{"internal/metrics", "internal/finding", "internal/ratelimit", "internal/pseudonym", "internal/wholefile"}

// rooms says which one package may import a module of others, so that it can
// be changed for another in one place.
var rooms = map[string]string{
	"github.com/emersion/go-smtp":      "smtp/wire",
	"github.com/caddyserver/certmagic": "acme",
	"github.com/pion":                  "turn",
	"tailscale.com":                    "relay/derp",
	"github.com/pelletier/go-toml":     "internal/config",
	"github.com/spf13/cobra":           "cmd/barid",
}

// emptyNames say nothing about what is inside.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "managers"}

// suites are packages outside test/ that exist for tests: they may import
// testing, and only tests may import them.
var suites = []string{"storage/storetest"}
