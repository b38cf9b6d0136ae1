package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"barid/internal/admin"
	"barid/internal/app"
	"barid/internal/config"
)

func storeCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "store",
		Short: "Look after the files of accounts and mail",
	}, storeCheckCommand(), storeSettleCommand())
}

func storeCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Compare what the relay knows with what lies on disk",
		Long: "Compare what the relay knows with what lies on disk: snapshots, message files,\n" +
			"dovecot-uidlist, and what is left of crashes. A running relay does it slowly and\n" +
			"goes on serving; without one the data directory is opened for it.\n\n" +
			"--repair does what is safe: it makes broken snapshots and lists anew, gives found\n" +
			"files a UID, expunges messages whose file is gone, and removes old files in tmp\n" +
			"and staging. Everything else is told and left alone.\n\n" +
			"Exit code 1 when a fault is left. With --json, one object a line; the last has\n" +
			"the member \"end\".",
		Args: cobra.NoArgs,
	}
	ask := askingFlags(c)
	var order app.StoreCheck
	c.Flags().BoolVar(&order.Repair, "repair", false, "repair what can be repaired safely")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		show := &storeShow{json: *ask.json, out: cmd.OutOrStdout()}
		if isTerminal(cmd.ErrOrStderr()) {
			show.bar = cmd.ErrOrStderr()
		}
		err := storeAsk(cmd, ask,
			func(relay *admin.Client) error {
				return admin.Follow(cmd.Context(), relay, "/store/check", order, show.line)
			},
			func(cfg *config.Config) error { return app.CheckStoppedStore(cmd.Context(), cfg, order, show.line) })
		if err = errors.Join(err, show.wipe()); err == nil && show.left > 0 {
			err = failed(fmt.Errorf("%s left", counted(int(show.left), "fault")))
		}
		return err
	}
	return c
}

func storeSettleCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "settle",
		Short: "Write all mail into Maildir files, for other programs",
		Long: "Write all mail into Maildir files and bring dovecot-uidlist up to date, so that\n" +
			"other programs find all there is: the youngest seconds are in the journal only.\n" +
			"A relay that was stopped has done so; one that crashed has not.",
		Args: cobra.NoArgs,
	}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		err := storeAsk(cmd, ask,
			func(relay *admin.Client) error {
				return admin.Follow(cmd.Context(), relay, "/store/settle", nil, func(app.StoreLine) error { return nil })
			},
			func(cfg *config.Config) error { return app.SettleStoppedStore(cmd.Context(), cfg) })
		if err != nil {
			return err
		}
		return ask.print(cmd, map[string]bool{"settled": true}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, "all mail is in its files")
			return err
		})
	}
	return c
}

// storeAsk asks the relay, or does it itself where none is running. The
// configuration is needed for that even with --data-dir: it says the domain.
func storeAsk(cmd *cobra.Command, ask asking, running func(*admin.Client) error, stopped func(*config.Config) error) error {
	relay, err := ask.dial(cmd)
	if err != nil {
		return err
	}
	if err = running(relay); !errors.Is(err, admin.ErrNotRunning) {
		return failed(err)
	}
	_, cfg, failedToLoad := loadConfig(cmd)
	if failedToLoad != nil {
		return failed(fmt.Errorf("%w, and to look at it without one the configuration is needed: %w", err, failedToLoad))
	}
	if *ask.dataDir != "" {
		if cfg.DataDir, err = filepath.Abs(*ask.dataDir); err != nil {
			return failed(err)
		}
	}
	return failed(stopped(cfg))
}

// storeShow prints a check as it goes.
type storeShow struct {
	json  bool
	out   io.Writer
	bar   io.Writer // a terminal; nil when there is none
	drawn bool
	left  int64
}

func (s *storeShow) line(l app.StoreLine) error {
	if l.Progress != nil && !s.json {
		return s.draw(l.Progress)
	}
	if l.End != nil {
		s.left = l.End.Faults - l.End.Repaired
	}
	if err := s.wipe(); err != nil {
		return err
	}
	if s.json {
		return json.NewEncoder(s.out).Encode(l)
	}
	_, err := fmt.Fprintln(s.out, storeText(l))
	return err
}

// storeText is one line for people.
func storeText(l app.StoreLine) string {
	if e := l.End; e != nil {
		messages := counted(int(e.Messages), "message")
		if e.Waiting > 0 {
			messages += fmt.Sprintf(" and %d that have no file yet", e.Waiting)
		}
		return fmt.Sprintf("%s, %s, %d octets read; %s, %d repaired",
			counted(int(e.Looked), "account"), messages, e.Octets, counted(int(e.Faults), "fault"), e.Repaired)
	}
	var where []string
	for _, part := range []string{l.Account, l.Mailbox, l.File} {
		if part != "" {
			where = append(where, printable(part))
		}
	}
	if l.UID != 0 {
		where = append(where, fmt.Sprintf("UID %d", l.UID))
	}
	text := fmt.Sprintf("%s: %s: %s", strings.Join(where, " "), l.Fault, printable(l.Text))
	if l.Repaired {
		text += " (repaired)"
	}
	return text
}

// draw tells how far it is, over what it told before.
func (s *storeShow) draw(p *app.StoreSum) error {
	if s.bar == nil {
		return nil
	}
	s.drawn = true
	_, err := fmt.Fprintf(s.bar, "\r%d of %s, %s\x1b[K", p.Looked, counted(int(p.Accounts), "account"), counted(int(p.Faults), "fault"))
	return err
}

// wipe takes that away, for a line.
func (s *storeShow) wipe() error {
	if !s.drawn {
		return nil
	}
	s.drawn = false
	_, err := io.WriteString(s.bar, "\r\x1b[K")
	return err
}
