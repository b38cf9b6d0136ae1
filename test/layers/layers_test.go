package layers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The map in rules.go is the one the code follows.
func TestImportsPointDown(t *testing.T) {
	packages, err := Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(packages, func(p Package) bool {
		return p.Path == "smtp" && slices.Contains(p.Imports, "barid/internal/pseudonym")
	}) {
		t.Fatal("the tree was not read: smtp does not import internal/pseudonym")
	}
	for _, breach := range Check(packages) {
		t.Error(breach)
	}
}

func TestABreachIsFoundAndNamesBoth(t *testing.T) {
	for _, c := range []struct {
		path, imported, want string
	}{
		{"smtp", "barid/storage", "smtp imports storage, which stands above it"},
		{"internal/journal", "barid/smtp", "internal/journal imports smtp, which stands above it"},
		{"internal/config", "barid/internal/app", "internal/config imports internal/app, which stands above it"},
		{"web", "barid/cmd/barid", "web imports cmd/barid, which stands above it"},
		{"imap", "barid/smtp/submit", "imap imports smtp/submit, which stands beside it"},
		{"imap", "barid/imap/push", "imap imports imap/push, which stands beside it"},
		{"storage", "barid/storage/maildir", "storage imports storage/maildir, which stands above it"},
		{"internal/config", "barid/internal/metrics", "internal/config imports internal/metrics, which stands beside it"},
		{"internal/netserve", "barid/internal/journal", "internal/netserve imports internal/journal, which stands beside it"},
		{"internal/metrics", "barid/internal/netserve", "internal/metrics imports internal/netserve, which stands beside it"},
		{"smtp/submit", "github.com/emersion/go-smtp", "smtp/submit imports github.com/emersion/go-smtp, which only smtp/wire may"},
		{"web", "github.com/caddyserver/certmagic", "web imports github.com/caddyserver/certmagic, which only acme may"},
		{"relay", "github.com/pion/turn/v4", "relay imports github.com/pion/turn/v4, which only turn may"},
		{"relay", "tailscale.com/derp/derpserver", "relay imports tailscale.com/derp/derpserver, which only relay/derp may"},
		{"internal/app", "github.com/pelletier/go-toml/v2", "internal/app imports github.com/pelletier/go-toml/v2, which only internal/config may"},
		{"storage/local", "testing", "storage/local imports testing outside of its tests"},
		{"storage/local", "testing/iotest", "storage/local imports testing/iotest outside of its tests"},
		{"cmd/barid", "barid/test/harness", "cmd/barid imports test/harness, which is for tests"},
		{"internal/app", "barid/storage/storetest", "internal/app imports storage/storetest, which is for tests"},
	} {
		got := Check([]Package{{Path: c.path, Imports: []string{c.imported}}})
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("got %q\nwant %q", got, c.want)
		}
	}
}

func TestWhatIsAllowedPasses(t *testing.T) {
	for path, imports := range map[string][]string{
		"cmd/barid":         {"barid/internal/app", "barid/internal/config", "github.com/spf13/cobra"},
		"internal/app":      {"barid/imap", "barid/web", "barid/storage/local", "barid/smtp", "barid/internal/config"},
		"imap":              {"barid/imap/wire", "barid/storage", "barid/smtp", "barid/internal/netserve", "github.com/emersion/go-imap/v2"},
		"smtp/wire":         {"github.com/emersion/go-smtp", "barid/smtp"},
		"internal/netserve": {"barid/internal/metrics", "barid/internal/pseudonym"},
		"internal/admin":    {"barid/internal/finding", "barid/internal/admin/wire"},
		"storage/storetest": {"testing", "barid/storage"},
		"turn":              {"github.com/pion/turn/v4"},
		"test/harness":      {"testing", "barid/internal/app", "github.com/emersion/go-smtp"},
	} {
		for _, breach := range Check([]Package{{Path: path, Imports: imports}}) {
			t.Error(breach)
		}
	}
}

func TestNamesInitsAndPlaces(t *testing.T) {
	for want, p := range map[string]Package{
		`internal/util: "util" says nothing`:                  {Path: "internal/util", Name: "util"},
		`internal/text: "helpers" says nothing`:               {Path: "internal/text", Name: "helpers"},
		`web has a func init at page.go:7`:                    {Path: "web", Name: "web", Inits: []string{"page.go:7"}},
		`storage/cloud has no row: give it one in test/layer`: {Path: "storage/cloud", Name: "cloud"},
	} {
		got := Check([]Package{p})
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
}

func TestReadSeesWhatIsCompiledAndNothingElse(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"web/page.go":        "package web\n\nimport (\n\t\"fmt\"\n\tx \"barid/smtp\"\n)\n\nfunc init() {}\n\ntype t struct{}\n\nfunc (t) init() {}\n",
		"web/page_test.go":   "package web\n\nimport \"testing\"\n",
		"web/testdata/a.go":  "package broken(\n",
		"web/plan9.go":       "//go:build plan9\n\npackage web\n\nimport \"os\"\n",
		".git/hooks/hook.go": "package broken(\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Path != "web" || !slices.Equal(got[0].Imports, []string{"barid/smtp", "fmt", "os"}) || !slices.Equal(got[0].Inits, []string{"page.go:8"}) {
		t.Fatalf("%+v", got)
	}
	if err := os.WriteFile(filepath.Join(root, "web/new.go"), []byte("package"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(root); err == nil || !strings.Contains(err.Error(), "new.go") {
		t.Fatalf("a file that does not parse: %v", err)
	}
}
