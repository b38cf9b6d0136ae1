package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/internal/config"
	"barid/internal/finding"
	"barid/internal/preflight"
	"barid/internal/zone"
)

func initCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "init DOMAIN | init --no-domain [ADDRESS]",
		Short: "Look whether this machine can run a relay, then make its configuration, directory and keys",
		Long: `Look whether this machine can run a relay: its ports, addresses, clock, memory,
disk, and port 25 to the outside. When something is in the way it says so and
makes nothing.

Else it writes a configuration with comments and makes the data directory and
the keys: /etc/barid/barid.toml and /var/lib/barid for root, ./barid.toml and
./barid-data for others. Then it prints the DNS records to publish, and an invite
for the first person. Run again it changes nothing and prints those again.`,
		Args: cobra.MaximumNArgs(1),
	}
	noDomain := c.Flags().Bool("no-domain", false, "a relay without a name, at the IPv4 address of this machine or at ADDRESS")
	dataDir := c.Flags().String("data-dir", "", "the directory for all state (default /var/lib/barid for root, ./barid-data for others)")
	force := c.Flags().Bool("force", false, "make it though something is in the way")
	asJSON := c.Flags().Bool("json", false, "print what was found and made as JSON")
	servers := c.Flags().StringSlice("mail-server", preflight.MailServers(), "mail servers with which port 25 to the outside is tried")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		domain, err := initDomain(args, *noDomain)
		if err != nil {
			return err
		}
		path, err := initPath(cmd)
		if err != nil {
			return err
		}
		cfg, known, err := initConfig(path, domain, *dataDir)
		if err != nil {
			return err
		}
		ctx, cancel := untilSignal(cmd.Context())
		defer cancel()
		out := begun{Config: path, DataDir: cfg.DataDir, Known: known, Findings: []finding.Finding{}}
		err = out.begin(cfg, *force, func() []finding.Finding { return app.Preflight(ctx, cfg, *servers) })
		if ctx.Err() != nil {
			return failed(errors.New("it was ended"))
		}
		return failed(errors.Join(out.print(cmd, *asJSON, cfg), err))
	}
	return c
}

// initDomain gives the domain that is meant.
func initDomain(args []string, noDomain bool) (string, error) {
	if !noDomain {
		if len(args) == 0 {
			return "", errors.New(`init wants the domain of the relay, such as chat.example.org; "--no-domain" is for one that has none`)
		}
		return args[0], nil
	}
	if len(args) > 0 {
		if a, err := netip.ParseAddr(args[0]); err != nil || !a.Is4() {
			return "", fmt.Errorf("--no-domain takes an IPv4 address, not %q", args[0])
		}
		return args[0], nil
	}
	local, err := zone.LocalAddrs()
	if err != nil {
		return "", failed(fmt.Errorf("addresses of this machine: %w", err))
	}
	for _, a := range local {
		if a.Is4() {
			return a.String(), nil
		}
	}
	return "", failed(errors.New("this machine has no public IPv4 address; name the one that leads to it: barid init --no-domain 203.0.113.7"))
}

// initPath is where the configuration is, or will be.
func initPath(cmd *cobra.Command) (string, error) {
	flag, err := cmd.Flags().GetString("config")
	if err != nil {
		return "", err
	}
	path, err := config.Find(flag)
	if errors.Is(err, config.ErrNotFound) {
		path = "barid.toml"
		if os.Geteuid() == 0 {
			path = "/etc/barid/barid.toml"
		}
		err = nil
	}
	return path, err
}

// initConfig reads the configuration that is there, or thinks out one. Known
// says which.
func initConfig(path, domain, dataDir string) (cfg *config.Config, known bool, err error) {
	cfg, err = config.Load(path)
	switch {
	case err == nil && cfg.Domain != domain:
		return nil, true, failed(fmt.Errorf("%s is there already, for %s: move it away, or name another with --config", path, cfg.Domain))
	case err == nil:
		return cfg, true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	}
	cfg = config.Default(domain)
	if dataDir != "" {
		if cfg.DataDir, err = filepath.Abs(dataDir); err != nil {
			return nil, false, err
		}
	} else if !filepath.IsAbs(cfg.DataDir) {
		cfg.DataDir = filepath.Join(filepath.Dir(path), cfg.DataDir)
	}
	return cfg, false, cfg.Check()
}

// begun is what init found, made and has to say.
type begun struct {
	Config   string            `json:"config,omitempty"` // empty when nothing was made
	DataDir  string            `json:"data_dir,omitempty"`
	Known    bool              `json:"known"` // the configuration was there before
	Made     bool              `json:"made"`  // all is there now
	Findings []finding.Finding `json:"findings"`
	Records  []zone.Record     `json:"records,omitempty"`
	Invite   string            `json:"invite,omitempty"`
}

// errInTheWay says that nothing was made.
var errInTheWay = errors.New("nothing was made: something is in the way")

// begin looks whether a new relay can be, and makes what is missing, the
// configuration last: where that is, all is.
func (b *begun) begin(cfg *config.Config, force bool, look func() []finding.Finding) error {
	if !b.Known {
		b.Findings = append(b.Findings, look()...)
	}
	blocked := slices.ContainsFunc(b.Findings, func(f finding.Finding) bool { return f.Severity == finding.Fault })
	if blocked && !force {
		b.Config, b.DataDir = "", ""
		return errInTheWay
	}
	if err := app.Prepare(cfg); err != nil {
		return err
	}
	if !b.Known {
		if err := writeConfig(b.Config, cfg); err != nil {
			return err
		}
	}
	b.Made = true
	f, err := app.ZoneFacts(cfg)
	if err != nil && !errors.Is(err, app.ErrNoZone) {
		return err
	}
	if err == nil {
		b.Records = zone.New(f)
	}
	if cfg.Accounts.Registration == config.RegistrationOpen {
		b.Invite, err = app.Invitation(cfg)
		return err
	}
	return nil
}

// writeConfig makes the file whole, where there is none.
func writeConfig(path string, cfg *config.Config) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	f, err := os.CreateTemp(dir, ".barid-*")
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(config.Fresh(cfg))
	if err == nil {
		err = f.Chmod(0o644) // there is no secret in it, and the service is another user
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), path) // never over one that came meanwhile
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

func (b *begun) print(cmd *cobra.Command, asJSON bool, cfg *config.Config) error {
	w := cmd.OutOrStdout()
	if asJSON {
		return printJSON(w, b)
	}
	printFindings(w, b.Findings)
	if !b.Made {
		return nil
	}
	if b.Known {
		fmt.Fprintf(w, "%s was there before; nothing was changed.\n\n", b.Config)
	} else {
		fmt.Fprintf(w, "Made %s and %s.\n\n", b.Config, b.DataDir)
	}
	if b.Records == nil {
		fmt.Fprintf(w, "%s is an address: there is nothing to put into the DNS.\nStart it with \"barid run\".\n", cfg.Domain)
	} else {
		fmt.Fprintf(w, "1. Put this into the DNS (\"barid dns --table\" has it for the form of a provider):\n\n%s\n", zone.Text(b.Records))
		fmt.Fprint(w, "2. Start it with \"barid run\".\n3. See the DNS turn right with \"barid dns check --wait\", and all else with \"barid check\".\n")
	}
	return b.printInvite(w, cfg)
}

// printInvite shows the invite, or how to make one.
func (b *begun) printInvite(w io.Writer, cfg *config.Config) error {
	switch {
	case cfg.Accounts.Registration == config.RegistrationInvites:
		_, err := fmt.Fprint(w, "\nPeople come by invitation: \"barid invites make\", while it runs.\n")
		return err
	case b.Invite == "":
		_, err := fmt.Fprint(w, "\nNobody can come: accounts.registration is \"closed\".\n")
		return err
	}
	code, err := qrcode.New(b.Invite, qrcode.Low)
	if err != nil {
		return fmt.Errorf("QR code of the invite: %w", err)
	}
	who := "for anybody"
	if strings.HasPrefix(b.Invite, "dclogin:") {
		who = "for one person"
	}
	_, err = fmt.Fprintf(w, "\nThe invite, %s, once it runs:\n%s%s\n", who, draw(code, isTerminal(w)), b.Invite)
	return err
}

// printFindings writes each with what to do about it, the worst first.
func printFindings(w io.Writer, all []finding.Finding) {
	for severity := finding.Fault; severity >= finding.Info; severity-- {
		for _, f := range all {
			if f.Severity == severity {
				fmt.Fprintf(w, "%-8s %s\n         %s\n", f.Severity, f.Text, f.Remedy)
			}
		}
	}
	if len(all) > 0 {
		fmt.Fprintln(w)
	}
}
