package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/internal/config"
	"barid/storage/cmdeploy"
)

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import --from cmdeploy",
		Short: "Take over a relay of the reference system: accounts, mail, keys, configuration",
		Long: `Take over a relay that cmdeploy installed: its accounts with passwords, mail and
UIDs, push tokens, DKIM key, certificate, pages and settings. Clients notice
nothing.

Without --copy the tree of accounts is taken as it lies: data_dir is the
directory above its "mail". With --copy it is copied to --data-dir, and the old
one is not changed; with --live too that is a first copy while the old relay
still serves, and the second one only brings what changed.

The old relay must not run: stop Postfix when its queue is empty, and Dovecot.
Each key of chatmail.ini that means something here is set in a new barid.toml;
a barid.toml that is there stays as it is. Everything that is not as it was is
told. It can be cut off and repeated. docs/adopting.md has the whole way, and
the way back.

With --json, one object a line; the last has the member "end". Exit code 1 when
a fault was found.`,
		Args: cobra.NoArgs,
	}
	o := app.ImportOrder{}
	flags := c.Flags()
	from := flags.String("from", "", `what is taken over: "cmdeploy"`)
	flags.StringVar(&o.Root, "root", "/", "the root directory of the old server, where it is not this one")
	flags.StringVar(&o.INI, "ini", "", "the old configuration (default /usr/local/lib/chatmaild/chatmail.ini)")
	flags.StringVar(&o.Mail, "mail", "", "the tree of accounts (default mailboxes_dir, or /home/vmail/mail/DOMAIN)")
	flags.StringVar(&o.WWW, "www", "", "the operator's own pages (default www_folder, or /var/www/html)")
	flags.StringVar(&o.DKIMKey, "dkim-key", "", "the DKIM key (default that of OpenDKIM's KeyTable, or /etc/dkimkeys/opendkim.private)")
	flags.StringVar(&o.DKIMSelector, "dkim-selector", "opendkim", "the selector of --dkim-key")
	flags.BoolVar(&o.Copy, "copy", false, "copy the tree, and change nothing in it")
	inPlace := flags.Bool("in-place", false, "take the tree as it lies (the default)")
	flags.StringVar(&o.DataDir, "data-dir", "", "the directory to copy to (default /var/lib/barid for root, ./barid-data for others)")
	flags.BoolVar(&o.Live, "live", false, "with --copy: a first copy while the old relay serves")
	flags.BoolVar(&o.DryRun, "dry-run", false, "change nothing, and tell what would be lost")
	flags.BoolVar(&o.OtherDovecot, "other-dovecot", false, "the Dovecot that runs on this machine has other mail")
	flags.BoolVar(&o.LeaveQueue, "leave-queue", false, "leave what waits in Postfix's queue there")
	owner := flags.String("owner", "", "the user that all of it shall belong to (default the tree's owner; with --copy nothing is given away)")
	asJSON := flags.Bool("json", false, "print it as JSON, one object a line")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case *from != "cmdeploy":
			return errors.New(`import wants --from cmdeploy`)
		case o.Copy && *inPlace:
			return errors.New("--copy and --in-place exclude each other")
		case o.Live && !o.Copy:
			return errors.New("--live is for --copy")
		case o.DataDir != "" && !o.Copy:
			return errors.New("--data-dir is for --copy: a tree that is taken as it lies says where the data is")
		}
		var err error
		if o.Owner, err = userID(*owner); err != nil {
			return err
		}
		path, err := initPath(cmd)
		if err != nil {
			return err
		}
		o.Config, err = config.Load(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		im, err := app.PlanImport(o)
		if err != nil {
			return failed(err)
		}
		ctx, cancel := untilSignal(cmd.Context())
		defer cancel()
		show := &importShow{json: *asJSON, out: cmd.OutOrStdout()}
		if isTerminal(cmd.ErrOrStderr()) {
			show.bar = cmd.ErrOrStderr()
		}
		return failed(runImport(ctx, im, o, path, show))
	}
	return c
}

// userID gives the ID of a user by name or number, -1 for none.
func userID(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if u, err := user.Lookup(name); err == nil {
		name = u.Uid
	}
	id, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return -1, fmt.Errorf("there is no user %q", name)
	}
	return int(id), nil
}

// runImport imports, and writes the configuration last: where it is, all is.
func runImport(ctx context.Context, im *app.Import, o app.ImportOrder, path string, show *importShow) error {
	err := errors.Join(im.Run(ctx, show.line), show.wipe())
	if ctx.Err() != nil {
		return errors.New("it was ended; the same command goes on with it")
	}
	if err != nil {
		return err
	}
	if show.phase == "adopted" && o.Config == nil {
		if err := writeConfig(path, im.Config); err != nil {
			return err
		}
		if !show.json {
			fmt.Fprintf(show.out, "Made %s.\n", path)
		}
	}
	return show.left()
}

// left is the error for faults that were found.
func (s *importShow) left() error {
	if s.faults == 0 {
		return nil
	}
	return fmt.Errorf("%s, see above", counted(int(s.faults), "fault"))
}

// importShow prints an import, or an export, as it goes.
type importShow struct {
	json   bool
	out    io.Writer
	bar    io.Writer // a terminal; nil when there is none
	drawn  bool
	faults int64
	phase  string
}

func (s *importShow) line(l app.ImportLine) error {
	if l.Progress != nil {
		return s.draw(l.Progress)
	}
	if l.End != nil {
		s.faults, s.phase = l.End.Faults, l.End.Phase
	}
	if err := s.wipe(); err != nil {
		return err
	}
	if s.json {
		return json.NewEncoder(s.out).Encode(l)
	}
	_, err := fmt.Fprintln(s.out, importText(l))
	return err
}

// importText is one line for people.
func importText(l app.ImportLine) string {
	switch {
	case l.Setting != nil:
		s := l.Setting
		text := fmt.Sprintf("%s = %s: ", s.Key, s.Value)
		if len(s.Ours) == 0 {
			text += "no effect"
		} else {
			text += strings.Join(s.Ours, ", ")
		}
		if s.Note != "" {
			text += " (" + s.Note + ")"
		}
		return text
	case l.Found != nil:
		return l.Found.String()
	}
	e := l.End
	text := fmt.Sprintf("%s: %s, %s, %s, %d octets; %s, %s", e.DataDir, counted(int(e.Accounts), "account"), counted(int(e.Messages), "message"),
		countedMailboxes(e.Mailboxes), e.Octets, counted(int(e.Warnings), "warning"), counted(int(e.Faults), "fault"))
	switch e.Phase {
	case "dry-run":
		return text + "; nothing was changed"
	case "copied":
		return text + "; " + counted(int(e.Copied), "file") + ` copied. Stop the old relay, and run it again without --live`
	}
	return text
}

func countedMailboxes(n int64) string {
	if n == 1 {
		return "1 mailbox"
	}
	return fmt.Sprintf("%d mailboxes", n)
}

// draw draws the bar over the one before.
func (s *importShow) draw(p *cmdeploy.Sum) error {
	if s.bar == nil {
		return nil
	}
	part := 1.0
	if p.Directories > 0 {
		part = float64(p.Looked) / float64(p.Directories)
	}
	full := int(part * barWidth)
	s.drawn = true
	_, err := fmt.Fprintf(s.bar, "\r[%s%s] %3.0f %%  %d of %s, %s\x1b[K",
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), part*100, p.Looked, counted(int(p.Directories), "account"), counted(int(p.Messages), "message"))
	return err
}

// wipe takes the bar away, for a line.
func (s *importShow) wipe() error {
	if !s.drawn {
		return nil
	}
	s.drawn = false
	_, err := io.WriteString(s.bar, "\r\x1b[K")
	return err
}
