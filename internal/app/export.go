package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"barid/internal/config"
	"barid/internal/finding"
	"barid/internal/journal"
	"barid/internal/wholefile"
	"barid/storage"
	"barid/storage/cmdeploy"
	"barid/storage/local"
)

// ExportOrder says how a relay goes back to the reference.
type ExportOrder struct {
	// Mail is the tree that the reference serves; empty: the one in the data
	// directory.
	Mail string
	// INI is where a chatmail.ini is written, if none is there; empty: in the
	// data directory.
	INI    string
	Owner  int // user ID that the tree shall belong to; negative is its owner. Only root can give
	DryRun bool

	OtherDovecot bool
	Proc         string
	Now          func() time.Time
}

// exporting is an export on its way. It says what it does as an import does.
type exporting struct {
	Import
	cfg  *config.Config
	back ExportOrder
	tree *cmdeploy.Tree
	fsys journal.FS

	accounts []string // addresses

	highest storage.ModSeq
	queued  int
}

// Export makes what Dovecot and cmdeploy need to go on with the accounts of a
// relay that is not running: everything in Maildir files, dovecot-uidlist of
// every mailbox, nothing of this program in between. journal.ErrLocked when the
// relay runs.
func Export(ctx context.Context, cfg *config.Config, o ExportOrder, send func(ImportLine) error) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.INI == "" {
		o.INI = filepath.Join(cfg.DataDir, "chatmail.ini")
	}
	n := namesOf(cfg.Domain)
	e := &exporting{cfg: cfg, back: o, Import: Import{
		order: ImportOrder{DryRun: o.DryRun, OtherDovecot: o.OtherDovecot, Proc: o.Proc, Now: o.Now}, names: n, bare: cfg.Domain,
		mail: filepath.Join(cfg.DataDir, "mail", cfg.Domain), Config: cfg, send: send,
	}}
	return e.run(ctx)
}

func (e *exporting) run(ctx context.Context) (err error) {
	if e.tree, err = cmdeploy.OpenTree(e.mail, e.names.mail); err != nil {
		return err
	}
	defer e.tree.Close()
	if e.fsys, err = journal.OpenFS(e.cfg.DataDir); err != nil {
		return err
	}
	defer e.fsys.Close()
	if err := e.lookBusy(); err != nil {
		return err
	}
	if e.faults > 0 && !e.back.DryRun {
		return ErrInTheWay
	}
	end := &ImportEnd{Phase: "dry-run", DataDir: e.mail}
	if end.Sum, err = e.lists(ctx); err != nil {
		return err
	}
	if !e.back.DryRun {
		end.Phase = "exported"
		if err := e.leave(ctx, end); err != nil {
			return err
		}
	}
	if e.back.Mail != "" && !e.back.DryRun {
		// The other tree has all of it now: it may be copied here again, until a
		// relay has run here.
		if err := e.phase.set(e.cfg.DataDir, phaseDone); err != nil {
			return err
		}
	}
	if err := e.losses(); err != nil {
		return err
	}
	return e.end(end)
}

// lists settles the store and looks at what Dovecot will read.
func (e *exporting) lists(ctx context.Context) (sum cmdeploy.Sum, err error) {
	return sum, onStoppedStore(e.cfg, func(s *local.Store) error {
		e.queued, _ = s.QueueLen()
		if err := s.Accounts(ctx, "", func(i storage.AccountInfo) error {
			e.accounts = append(e.accounts, i.Address.Wire())
			return nil
		}); err != nil {
			return err
		}
		// Reads every account once: those that nobody opened since they were
		// adopted, too.
		w := e.work(cmdeploy.Work{Tree: e.tree, Accounts: e.accounts, Store: s})
		w.Report = func(f cmdeploy.Found) error {
			if f.ID == cmdeploy.FoundOwner {
				return nil // what was made here; all of it is given away at the end
			}
			return e.found(f)
		}
		var err error
		if sum, err = w.Run(ctx); err != nil || e.back.DryRun {
			return err
		}
		x := e.export()
		for _, name := range e.accounts {
			highest, found, err := x.Lists(ctx, s, name)
			if err != nil {
				return fmt.Errorf("export an account: %w", err)
			}
			e.highest = max(e.highest, highest)
			for _, f := range found {
				if err := e.found(f); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (e *exporting) export() *cmdeploy.Export {
	return &cmdeploy.Export{FS: e.fsys, Dir: "mail/" + e.bare, Tree: e.tree}
}

// leave gives the tree to Dovecot: the one in the data directory without our
// own files, or another one that becomes the same.
func (e *exporting) leave(ctx context.Context, end *ImportEnd) error {
	tree := e.mail
	if e.back.Mail != "" {
		tree = e.back.Mail
		if err := e.copyBack(ctx, end); err != nil {
			return err
		}
	} else {
		x := e.export()
		for _, name := range e.accounts {
			if err := x.Leave(name); err != nil {
				return fmt.Errorf("export an account: %w", err)
			}
		}
		if err := e.fsys.SyncFS(); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	if err := e.writeINI(); err != nil {
		return err
	}
	owner := e.back.Owner
	if info, err := os.Stat(tree); err == nil && owner < 0 {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			owner = int(st.Uid)
		}
	}
	if os.Geteuid() != 0 || owner < 0 {
		return nil
	}
	if err := giveTree(tree, uint32(owner), "."); err != nil {
		return fmt.Errorf("give the tree to its owner: %w", err)
	}
	return nil
}

// copyBack makes another tree what ours is. Accounts that only it has stay.
func (e *exporting) copyBack(ctx context.Context, end *ImportEnd) error {
	to, err := journal.OpenFS(e.back.Mail)
	if err != nil {
		return err
	}
	defer to.Close()
	there, err := to.ReadDir(".")
	if err != nil {
		return fmt.Errorf("list the tree of the reference: %w", err)
	}
	ours := map[string]bool{}
	for _, name := range e.accounts {
		ours[name] = true
	}
	for _, entry := range there {
		if f := (cmdeploy.Found{Account: entry.Name()}); entry.IsDir() && !ours[entry.Name()] && strings.Contains(entry.Name(), "@") {
			f.Finding = finding.Finding{ID: "export.other", Severity: finding.Warning,
				Text:   "is an account of that tree which this relay does not have any more; it is left there.",
				Remedy: "Remove its directory, or it is served again with the password it had."}
			if err := e.found(f); err != nil {
				return err
			}
		}
	}
	c := &cmdeploy.Copy{From: e.tree, To: to, Dir: "."}
	sum, err := e.work(cmdeploy.Work{Tree: e.tree, Accounts: e.accounts, Before: c.Account}).Run(ctx)
	if err != nil {
		return err
	}
	end.DataDir, end.Copied, end.CopiedBytes = e.back.Mail, sum.Copied, sum.CopiedBytes
	if err := to.SyncFS(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// writeINI writes the configuration of the reference, where there is none.
func (e *exporting) writeINI() error {
	if _, err := os.Stat(e.back.INI); err == nil {
		return e.say("export.ini", finding.Info, e.back.INI+" is there already and stays as it is.", "")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := wholefile.Write(e.back.INI, []byte(toINI(e.cfg))); err != nil {
		return err
	}
	return e.say("export.ini", finding.Info, "Made "+e.back.INI+".", "")
}

// losses says what the reference does not take over.
func (e *exporting) losses() error {
	said := []struct {
		when         bool
		severity     finding.Severity
		id           string
		text, remedy string
	}{
		{e.queued > 0, finding.Warning, "export.queue", fmt.Sprintf("%s for other servers stay in this relay's queue.", countedMessages(e.queued)),
			`Let it run until "barid queue list" is empty, and export again; they leave when it runs next.`},
		{e.names.mail == e.names.host && e.cfg.DKIM.Selector == "", finding.Warning, "export.dkim",
			"The keys that signed so far were made here, in " + filepath.Join(e.cfg.DataDir, "dkim") + ", and OpenDKIM has others.",
			"Put the rsa key into /etc/dkimkeys/opendkim.private and publish it for the selector opendkim, before the switch."},
		{e.closed(), finding.Info, "export.registration", "No accounts are made here.", "Make the file /etc/chatmail-nocreate for the same there."},
		{e.cfg.Accounts.Registration != config.RegistrationOpen, finding.Warning, "export.invites",
			"The reference knows no invitations: every first login makes an account.", "Make the file /etc/chatmail-nocreate against that."},
		{e.highest > 0, finding.Info, "export.modseq", "Dovecot counts changes (MODSEQ) from below what clients were told; Delta Chat does not mind, others may miss flags that change.",
			fmt.Sprintf("Once it runs: doveadm mailbox update -A --min-highest-modseq %d INBOX.", e.highest)},
		{true, finding.Info, "export.loss", "What the reference does not know stays behind: names of removed accounts, metadata entries other than tokens, wake-ups that wait, and the youngest TURN credentials.", ""},
	}
	for _, l := range said {
		if !l.when {
			continue
		}
		if err := e.say(l.id, l.severity, l.text, l.remedy); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporting) closed() bool {
	_, err := os.Stat(filepath.Join(e.cfg.DataDir, "nocreate"))
	return err == nil
}
