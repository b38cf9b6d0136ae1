package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"barid/internal/appversions"
	"barid/internal/config"
	"barid/storage"
)

// Clients get each entry as it is configured, and nothing for what there is
// not.
func TestSharedEntries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "versions.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		entry string
		set   func(*config.Config)
		want  string // what it begins with; empty for none
	}{
		{entryIroh, func(c *config.Config) { c.Iroh.URL = "https://iroh.test/x y" }, "https://iroh.test/x y"},
		{entryIroh, nil, "https://relay.test"},
		{entryIroh, func(c *config.Config) { c.Domain = "192.0.2.7" }, "https://192.0.2.7"},
		{entryIroh, func(c *config.Config) { c.Iroh.Enabled = false }, ""},
		{entryIroh, func(c *config.Config) { c.Listen.HTTPS = nil }, ""},
		{entryIroh, func(c *config.Config) { c.Iroh.Enabled, c.Iroh.URL = false, "https://iroh.test" }, "https://iroh.test"},
		{entryAdmin, func(c *config.Config) { c.Contact.Admin = "admin@relay.test" }, "mailto:admin@relay.test"},
		{entryAdmin, nil, ""},
		{entryRecipients, nil, "1000"},
		{entryVersions, nil, `{"clients":[{"clientId":"deltachat","sources":[{"sourceId":"gplay","versionInteger":754,`},
		{entryVersions, func(c *config.Config) { c.IMAP.AppVersions = "" }, ""},
		{entryVersions, func(c *config.Config) { c.IMAP.AppVersions = file }, ""},
		{entryVersions, func(c *config.Config) { c.IMAP.AppVersions = file + ".missing" }, ""},
		{"/shared/comment", nil, ""},
		{"/shared/vendor/deltachat", nil, ""},
		{"/private/vendor/deltachat/maxsmtprecipients", nil, ""},
		{"maxsmtprecipients", nil, ""},
	} {
		cfg := config.Default("relay.test")
		if c.set != nil {
			c.set(cfg)
		}
		a := &App{cfg: cfg, names: namesOf(cfg.Domain), versions: appversions.New(cfg.IMAP.AppVersions, nil)}
		value, ok := a.announce(t.Context(), storage.Account{}, c.entry)
		if ok != (c.want != "") || !strings.HasPrefix(string(value), c.want) {
			t.Errorf("%s: %v, %q, want %q", c.entry, ok, value, c.want)
		}
	}
}
