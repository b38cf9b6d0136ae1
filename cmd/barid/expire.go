package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"barid/internal/admin"
	"barid/internal/app"
	"barid/storage/expiry"
)

func expireCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "expire",
		Short: "Let old mail and unused accounts leave now",
		Long: "Let old mail and unused accounts leave now, as the relay does by itself once a\n" +
			"day, by the ages in the table expiry of the configuration.\n\n" +
			"Nothing leaves while the clock cannot be believed: it moved by more than a day,\n" +
			"or the relay was off for longer than that. When the clock is right, say so with\n" +
			"--confirm-clock.\n\n" +
			"With --json, one object a line; the last has the member \"end\".",
		Args: cobra.NoArgs,
	}
	ask := askingFlags(c)
	var order app.ExpireOrder
	c.Flags().BoolVar(&order.DryRun, "dry-run", false, "change nothing, and tell what would leave")
	c.Flags().BoolVar(&order.ConfirmClock, "confirm-clock", false, "the clock is right, whatever it was before")
	verbose := c.Flags().BoolP("verbose", "v", false, "tell of each account; a dry run always does")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if order.DryRun && order.ConfirmClock {
			return errors.New("a dry run changes nothing: --dry-run and --confirm-clock exclude each other")
		}
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		show := &expireShow{order: order, json: *ask.json, verbose: *verbose || order.DryRun, out: cmd.OutOrStdout()}
		if isTerminal(cmd.ErrOrStderr()) {
			show.bar = cmd.ErrOrStderr()
		}
		return failed(show.follow(cmd.Context(), relay))
	}
	return c
}

// expireShow prints an expiry as it goes.
type expireShow struct {
	order   app.ExpireOrder
	json    bool
	verbose bool
	out     io.Writer
	bar     io.Writer // a terminal; nil when there is none
	drawn   bool      // the bar is on the terminal's line
}

func (e *expireShow) follow(ctx context.Context, relay *admin.Client) error {
	err := admin.Follow(ctx, relay, "/expire", e.order, func(l app.ExpireLine) error {
		if l.Progress != nil {
			return e.draw(l.Progress)
		}
		if l.Account != "" && !e.verbose && !l.Kept && !l.Failed {
			return nil
		}
		if err := e.wipe(); err != nil {
			return err
		}
		if e.json {
			return json.NewEncoder(e.out).Encode(l)
		}
		_, err := fmt.Fprintln(e.out, e.text(l))
		return err
	})
	return errors.Join(err, e.wipe())
}

// text is one line for people.
func (e *expireShow) text(l app.ExpireLine) string {
	switch {
	case l.End != nil:
		return l.End.String()
	case l.Kept:
		return fmt.Sprintf("Skipped deleting %s, doesn't have last_login but isn't empty", l.Account)
	case l.Failed:
		return l.Account + ": cannot be judged, see the log"
	case l.Removed:
		return l.Account + ": the account"
	}
	var parts []string
	if l.Messages > 0 {
		parts = append(parts, fmt.Sprintf("%s, %d octets", counted(int(l.Messages), "message"), l.Octets))
	}
	if l.Strays > 0 {
		parts = append(parts, counted(int(l.Strays), "file")+" that is no message")
	}
	return l.Account + ": " + strings.Join(parts, "; ")
}

// barWidth is that of the progress bar, in characters.
const barWidth = 40

// draw draws the bar over the one before.
func (e *expireShow) draw(p *expiry.Summary) error {
	if e.bar == nil {
		return nil
	}
	part := 1.0
	if p.Accounts > 0 {
		part = float64(p.Looked) / float64(p.Accounts)
	}
	full := int(part * barWidth)
	e.drawn = true
	_, err := fmt.Fprintf(e.bar, "\r[%s%s] %3.0f %%  %d of %d mailboxes, %s\x1b[K",
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), part*100, p.Looked, p.Accounts, counted(int(p.RemovedMessages), "message"))
	return err
}

// wipe takes the bar away, for a line.
func (e *expireShow) wipe() error {
	if !e.drawn {
		return nil
	}
	e.drawn = false
	_, err := io.WriteString(e.bar, "\r\x1b[K")
	return err
}
