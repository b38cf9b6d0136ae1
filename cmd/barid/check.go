package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"barid/internal/admin"
	"barid/internal/app"
	"barid/internal/config"
	"barid/internal/finding"
	"barid/internal/preflight"
	"barid/internal/zone"
)

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Look at all that a relay needs, inside and outside; a remedy for each finding",
		Long: `Look at all that a relay needs: its own state where it runs (certificates, iroh,
push, storage), else its ports; the DNS; its ports as seen from this machine;
port 25 to the outside; clock, memory and disk.

Exit code 1 when something does not work.`,
		Args: cobra.NoArgs,
	}
	asJSON := c.Flags().Bool("json", false, "print it as JSON")
	servers := c.Flags().StringSlice("mail-server", preflight.MailServers(), "mail servers with which port 25 to the outside is tried")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		_, cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := untilSignal(cmd.Context())
		defer cancel()
		found := checkAll(ctx, cfg, *servers)
		out := cmd.OutOrStdout()
		if *asJSON {
			err = printJSON(out, found)
		} else if printFindings(out, found); len(found) == 0 {
			_, err = fmt.Fprintln(out, "All is well.")
		}
		if err == nil && slices.ContainsFunc(found, func(f finding.Finding) bool { return f.Severity == finding.Fault }) {
			err = errors.New("something does not work")
		}
		return failed(err)
	}
	return c
}

// checkAll looks at everything.
func checkAll(ctx context.Context, cfg *config.Config, servers []string) []finding.Finding {
	found := []finding.Finding{}
	if err := app.Check(cfg); err != nil {
		found = append(found, finding.Finding{ID: "config.files", Severity: finding.Fault,
			Text: "A file that the configuration names cannot be used: " + err.Error() + ".", Remedy: `See "barid config check".`})
	}
	asked, cancel := context.WithTimeout(ctx, statusTimeout)
	s, err := admin.Dial(cfg.DataDir).Status(asked)
	cancel()
	if err != nil {
		found = append(found, finding.Finding{ID: "relay.stopped", Severity: finding.Warning,
			Text: "The relay does not answer: " + err.Error() + ".", Remedy: `Start it with "barid run", or as a service.`})
		found = append(found, app.Preflight(ctx, cfg, servers)...)
	} else {
		found = append(found, s.Findings...)
		found = append(found, app.MachineFindings(ctx, cfg, servers)...)
		found = append(found, app.ReachFindings(ctx, cfg)...)
	}
	f, err := app.ZoneFacts(cfg)
	switch {
	case errors.Is(err, app.ErrNoZone):
	case err != nil:
		found = append(found, finding.Finding{ID: "dns.unknown", Severity: finding.Fault,
			Text: "What the DNS must say cannot be told: " + err.Error() + ".", Remedy: `Run "barid init" for this domain, as the user that the relay runs as.`})
	default:
		found = append(found, app.ZoneFindings(zone.Check(ctx, f, app.ZoneCheckConfig(cfg)))...)
	}
	return found
}
