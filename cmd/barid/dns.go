package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/internal/config"
	"barid/internal/zone"
)

func dnsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dns",
		Short: "Print what the DNS must say about the relay; check what it does say",
		Long: `Print what the DNS must say about the relay, as the text of a zone file. Nobody
is asked, and no relay need run. With --table it is printed for the forms of
providers, with --json for programs.`,
		Args: cobra.NoArgs,
	}
	table := c.Flags().Bool("table", false, "print it field by field, for the form of a provider")
	asJSON := c.Flags().Bool("json", false, "print it as JSON")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, f, err := loadZone(cmd)
		if errors.Is(err, app.ErrNoZone) {
			return failed(printNoZone(cmd, cfg, *asJSON))
		}
		if err != nil {
			return err
		}
		records, out := zone.New(f), cmd.OutOrStdout()
		switch {
		case *asJSON:
			err = printJSON(out, records)
		case *table:
			_, err = io.WriteString(out, zone.Table(records))
		default:
			_, err = io.WriteString(out, zone.Text(records))
		}
		return failed(err)
	}
	c.AddCommand(dnsCheckCommand())
	return c
}

// loadZone reads the configuration and finds out what its zone is made of. With
// app.ErrNoZone there is a configuration, and no zone.
func loadZone(cmd *cobra.Command) (*config.Config, zone.Facts, error) {
	_, cfg, err := loadConfig(cmd)
	if err != nil {
		return nil, zone.Facts{}, err
	}
	f, err := app.ZoneFacts(cfg)
	return cfg, f, failed(err)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printNoZone says what does not apply to a relay at an address.
func printNoZone(cmd *cobra.Command, cfg *config.Config, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), []zone.Record{})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), `[WARNING] %s is not a domain, skipping DNS checks.
Its accounts are name@[%s], which nobody looks up: no MX, no SPF, DMARC or
MTA-STS, and no DKIM, since there is no name to publish a key under. Its
certificate is its own, so there is nothing for CAA.
`, cfg.Domain, cfg.Domain)
	return err
}

// checkEvery is the pause between two checks of --wait.
const checkEvery = 5 * time.Second

func dnsCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Ask the DNS, and tell what is not as it should be; exit 1 if something required is not",
		Long: `Ask the name servers of the zone, as its delegation names them, and the
resolvers of this machine or of dns.resolver, and compare by what records mean.

Exit code 0 when all that is required is right. With --wait it asks again until
all that is required or recommended is.`,
		Args: cobra.NoArgs,
	}
	asJSON := c.Flags().Bool("json", false, "print it as JSON")
	wait := c.Flags().Bool("wait", false, "ask again until all is right")
	timeout := c.Flags().Duration("timeout", 0, `with --wait, give up after so long, such as "30m"`)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *timeout < 0 || *timeout != 0 && !*wait {
			return errors.New("--timeout is for --wait, and above zero")
		}
		cfg, f, err := loadZone(cmd)
		if errors.Is(err, app.ErrNoZone) {
			return failed(printNoZone(cmd, cfg, *asJSON))
		}
		if err != nil {
			return err
		}
		ctx, cancel := untilSignal(cmd.Context())
		defer cancel()
		if *timeout > 0 {
			ctx, cancel = context.WithTimeout(ctx, *timeout)
			defer cancel()
		}
		look := func() zone.Report {
			if now, err := app.ZoneFacts(cfg); err == nil {
				f = now // an account at the authority may have come meanwhile
			}
			return zone.Check(ctx, f, app.ZoneCheckConfig(cfg))
		}
		show := display{w: cmd.OutOrStdout(), live: *wait && isTerminal(cmd.OutOrStdout()) && !*asJSON, quiet: *asJSON}
		r := watch(ctx, look, show.round, *wait, checkEvery)
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), r)
		}
		if err == nil && !r.Usable {
			err = errors.New("what is required is not there yet")
		}
		return failed(err)
	}
	return c
}

// watch looks once, or until all is right or ctx ends. The last look that was
// not cut short is the result.
func watch(ctx context.Context, look func() zone.Report, show func(zone.Report), wait bool, every time.Duration) zone.Report {
	r := look()
	show(r)
	for wait && !r.Complete {
		select {
		case <-ctx.Done():
			return r
		case <-time.After(every):
		}
		next := look()
		if ctx.Err() != nil {
			return r
		}
		r = next
		show(r)
	}
	return r
}

// display shows reports: one over the other on a terminal; else whole the
// first time, and then what changed.
type display struct {
	w     io.Writer
	live  bool
	quiet bool
	lines int // of the last report on a terminal
	last  map[string]zone.State
}

func (d *display) round(r zone.Report) {
	if d.quiet {
		return
	}
	var b strings.Builder
	renderReport(&b, r, d.live || isTerminal(d.w))
	switch {
	case d.live:
		if d.lines > 0 {
			fmt.Fprintf(d.w, "\x1b[%dA\x1b[J", d.lines)
		}
		d.lines = strings.Count(b.String(), "\n")
		io.WriteString(d.w, b.String())
	case d.last == nil:
		io.WriteString(d.w, b.String())
	default:
		for _, one := range r.Results {
			if before := d.last[one.Line()]; before != one.State {
				fmt.Fprintf(d.w, "%s  %-8s %-5s %s\n", time.Now().Format(time.TimeOnly), one.State, one.Type, one.Name)
			}
		}
		if r.Complete {
			fmt.Fprintln(d.w, allRight)
		}
	}
	d.last = map[string]zone.State{}
	for _, one := range r.Results {
		d.last[one.Line()] = one.State
	}
}

const allRight = "Great! All your DNS entries are verified and correct."

// renderReport writes what is right in a line each, and what is not with what
// to do about it.
func renderReport(w io.Writer, r zone.Report, colours bool) {
	where := "no name server of its zone could be asked"
	if len(r.Servers) > 0 {
		where = "zone " + r.Zone + ", asked at " + strings.Join(r.Servers, ", ")
	}
	fmt.Fprintf(w, "%s: %s\n\n", r.Domain, where)
	for _, one := range r.Results {
		word, note := stateWord(one, colours), ""
		if one.State != zone.Right {
			note = "  (" + one.Level.String() + ")"
		}
		fmt.Fprintf(w, "  %s  %-5s  %s%s\n", word, one.Type, one.Name, note)
		if one.State == zone.Right || one.State == zone.Unneeded || one.State == zone.Missing && one.Level == zone.Optional {
			continue
		}
		if one.Problem != "" {
			fmt.Fprintf(w, "            %s\n", one.Problem)
		}
		for _, f := range one.Found {
			fmt.Fprintf(w, "            there is: %s\n", f) // the library escapes what does not print
		}
		if one.Change != "" {
			fmt.Fprintf(w, "            %s\n", one.Change)
		}
	}
	for _, remark := range r.Remarks {
		fmt.Fprintf(w, "\n%s\n", remark)
	}
	fmt.Fprintln(w)
	required, recommended := 0, 0
	for _, one := range r.Results {
		switch {
		case one.Bad() && one.Level == zone.Required:
			required++
		case one.Bad() && one.Level == zone.Recommended:
			recommended++
		}
	}
	switch {
	case required > 0:
		fmt.Fprintf(w, "Required and not right: %d. Recommended and not right: %d.\n", required, recommended)
	case recommended > 0:
		fmt.Fprintf(w, "WARNING: these recommended DNS entries are not set: %d. All that is required is right.\n", recommended)
	default:
		fmt.Fprintln(w, allRight)
	}
}

// stateWord is a state in eight columns, in colour on a terminal.
func stateWord(r zone.Result, colours bool) string {
	word := fmt.Sprintf("%-8s", string(r.State))
	if !colours {
		return word
	}
	colour := "33" // yellow
	switch {
	case r.State == zone.Right:
		colour = "32"
	case r.State == zone.Unneeded, r.Level == zone.Optional:
		colour = "2"
	case r.Bad() && r.Level == zone.Required:
		colour = "31"
	}
	return "\x1b[" + colour + "m" + word + "\x1b[0m"
}
