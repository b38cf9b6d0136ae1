package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"barid/internal/config"
	"barid/internal/finding"
	"barid/internal/journal"
	"barid/storage/cmdeploy"
	"barid/storage/local"
)

// ImportOrder says what is taken over, and how.
type ImportOrder struct {
	Root string // the root directory of the old server; "/" when it is this one
	INI  string // its chatmail.ini; default where the reference keeps it
	Mail string // its tree of accounts; default what the file says
	WWW  string // its pages; default what the file says, or its web root

	DKIMKey, DKIMSelector string // default those of the reference

	Copy    bool   // into DataDir; else the tree is taken as it lies
	DataDir string // for Copy
	Live    bool   // a first copy, while the old relay serves: nothing is adopted yet
	DryRun  bool

	OtherDovecot bool // the Dovecot that runs here has other mail
	LeaveQueue   bool // the mail that waits in Postfix's queue is not waited for
	// Owner is the user ID that all of it shall belong to; negative leaves that as
	// it is in a copy, and is the tree's owner otherwise. Only root can give.
	Owner int

	Config *config.Config // that is there already, from an import before; nil for none
	Proc   string         // "/proc"
	Now    func() time.Time
}

// ImportLine is a line of what an import says: a key, something found, how far
// it is, or, as the last, the end.
type ImportLine struct {
	Setting  *ImportSetting  `json:"setting,omitempty"`
	Found    *cmdeploy.Found `json:"found,omitempty"`
	Progress *cmdeploy.Sum   `json:"progress,omitempty"`
	End      *ImportEnd      `json:"end,omitempty"`
}

// ImportEnd is what an import came to.
type ImportEnd struct {
	cmdeploy.Sum
	Phase   string `json:"phase"` // "dry-run", "copied" (once more when nobody serves), "adopted"
	DataDir string `json:"data_dir"`
	Waiting int    `json:"waiting_notifications"` // taken over
}

// ErrInTheWay is inside the error of an import that did not begin, for what it
// told before.
var ErrInTheWay = errors.New("nothing was imported: something is in the way")

// Import is one on its way. PlanImport makes it.
type Import struct {
	order            ImportOrder
	ini              *cmdeploy.INI
	names            names
	mail             string // the old tree
	bare             string // the directory's name that it has below data_dir/mail
	rows             []ImportSetting
	phase            importPhase
	fromDB           map[string]bool // accounts whose password only the old database has
	faults, warnings int64           // told so far
	// Config is the configuration of the relay that is made. Run completes it;
	// who called writes it.
	Config *config.Config

	send func(ImportLine) error
}

// PlanImport reads the configuration of the old relay. Nothing is changed.
func PlanImport(o ImportOrder) (*Import, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.INI == "" {
		o.INI = filepath.Join(o.Root, "/usr/local/lib/chatmaild/chatmail.ini")
	}
	f, err := os.Open(o.INI)
	if err != nil {
		return nil, fmt.Errorf("the configuration of the old relay (name it with --ini): %w", err)
	}
	defer f.Close()
	im := &Import{order: o}
	if im.ini, err = cmdeploy.ReadINI(f); err != nil {
		return nil, fmt.Errorf("%s: %w", o.INI, err)
	}
	domain := im.ini.Domain()
	im.names, im.bare = namesOf(domain), domain
	if im.mail = o.Mail; im.mail == "" {
		if im.mail, _ = im.ini.Get("mailboxes_dir"); im.mail == "" {
			im.mail = "/home/vmail/mail/" + im.bare
		}
		im.mail = filepath.Join(o.Root, im.mail)
	}
	if im.mail, err = filepath.EvalSymlinks(im.mail); err != nil {
		return nil, fmt.Errorf("the accounts of the old relay (name their directory with --mail): %w", err)
	}
	if im.mail, err = filepath.Abs(im.mail); err != nil {
		return nil, err
	}
	base := config.Default(domain)
	if base.DataDir, err = im.dataDir(); err != nil {
		return nil, err
	}
	im.Config, im.rows = fromINI(im.ini, base)
	if err := im.Config.Check(); err != nil {
		return nil, err
	}
	if known := o.Config; known != nil {
		if known.Domain != domain || known.DataDir != base.DataDir {
			return nil, fmt.Errorf("there is a configuration already, of %s in %s, and this import is of %s in %s: name another with --config",
				known.Domain, known.DataDir, domain, base.DataDir)
		}
		im.Config = known
	}
	return im, nil
}

// dataDir is where the relay will have its state.
func (im *Import) dataDir() (string, error) {
	if im.order.Copy {
		if im.order.DataDir == "" {
			return config.Default(im.bare).DataDir, nil
		}
		return filepath.Abs(im.order.DataDir)
	}
	dir, ok := strings.CutSuffix(im.mail, "/mail/"+im.bare)
	if !ok || dir == "" {
		return "", fmt.Errorf("the accounts lie in %s; to be taken as they lie, they must be in a directory mail/%s: move them there and name it with --mail, or use --copy", im.mail, im.bare)
	}
	return dir, nil
}

// Run imports, and says so. What is wrong with one account, or one part, is
// said and does not stop the rest. ErrInTheWay when it did not begin.
func (im *Import) Run(ctx context.Context, send func(ImportLine) error) error {
	im.send = send
	if err := im.look(); err != nil {
		return err
	}
	if im.faults > 0 && !im.order.DryRun {
		return ErrInTheWay
	}
	tree, err := cmdeploy.OpenTree(im.mail, im.names.mail)
	if err != nil {
		return err
	}
	defer tree.Close()
	accounts, found, err := tree.Accounts()
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := im.found(f); err != nil {
			return err
		}
	}
	end := &ImportEnd{Phase: "dry-run", DataDir: im.Config.DataDir}
	if _, err := im.readPassDB(tree, accounts, nil); err != nil {
		return err
	}
	if im.order.DryRun {
		end.Sum, err = im.work(cmdeploy.Work{Tree: tree, Accounts: accounts}).Run(ctx)
	} else {
		err = im.do(ctx, tree, accounts, end)
	}
	if err != nil {
		return err
	}
	return im.end(end)
}

// end says the end, with all that was told on the way.
func (im *Import) end(end *ImportEnd) error {
	end.Faults, end.Warnings = im.faults, im.warnings
	return im.send(ImportLine{End: end})
}

func (im *Import) found(f cmdeploy.Found) error {
	switch f.Severity {
	case finding.Fault:
		im.faults++
	case finding.Warning:
		im.warnings++
	}
	return im.send(ImportLine{Found: &f})
}

// say tells of something that has to do with no account.
func (im *Import) say(id string, severity finding.Severity, text, remedy string) error {
	return im.found(cmdeploy.Found{Finding: finding.Finding{ID: id, Severity: severity, Text: text, Remedy: remedy}})
}

// work completes a Work with where it tells.
func (im *Import) work(w cmdeploy.Work) *cmdeploy.Work {
	w.Workers = max(4, 2*runtime.GOMAXPROCS(0)) // they wait for each other's flush
	w.Report = func(f cmdeploy.Found) error {
		if f.ID == cmdeploy.FoundNoPassword && im.fromDB[f.Account] {
			return nil // it gets one
		}
		return im.found(f)
	}
	var last time.Time
	w.Progress = func(s cmdeploy.Sum) {
		if now := im.order.Now(); now.Sub(last) >= 100*time.Millisecond || s.Looked == s.Directories {
			last = now
			_ = im.send(ImportLine{Progress: &s}) // Report fails the same way, and is heard
		}
	}
	return &w
}

// do imports: the tree, then what lies beside it. The configuration comes last,
// from who called.
func (im *Import) do(ctx context.Context, tree *cmdeploy.Tree, accounts []string, end *ImportEnd) error {
	if err := os.MkdirAll(im.Config.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var err error
	if im.phase, err = readPhase(im.Config.DataDir); err != nil {
		return err
	}
	if im.order.Copy {
		if end.Sum, err = im.copyTree(ctx, tree, accounts); err != nil {
			return err
		}
		if im.order.Live {
			end.Phase = "copied"
			return nil
		}
	}
	if err := im.phase.set(im.Config.DataDir, phaseAdopting); err != nil {
		return err
	}
	copied := end.Sum
	if end.Sum, err = im.adopt(ctx, tree, accounts); err != nil {
		return err
	}
	end.Copied, end.CopiedBytes = copied.Copied, copied.CopiedBytes
	if err := im.beside(tree, end); err != nil {
		return err
	}
	end.Phase = "adopted"
	if err := im.phase.set(im.Config.DataDir, phaseDone); err != nil {
		return err
	}
	return im.give(tree)
}

// copyTree brings the old tree to the data directory.
func (im *Import) copyTree(ctx context.Context, tree *cmdeploy.Tree, accounts []string) (sum cmdeploy.Sum, err error) {
	dir := im.Config.DataDir
	if im.phase.Phase == phaseAdopting {
		// Cut off there: the journal must not speak of mail that the copy changes.
		if err := onStoppedStore(im.Config, func(*local.Store) error { return nil }); err != nil {
			return sum, err
		}
	}
	unlock, err := journal.Lock(dir)
	if err != nil {
		return sum, err
	}
	defer unlock()
	if err := im.phase.mayCopy(dir); err != nil {
		return sum, err
	}
	if err := im.phase.set(dir, phaseCopying); err != nil {
		return sum, err
	}
	to, err := journal.OpenFS(dir)
	if err != nil {
		return sum, err
	}
	defer to.Close()
	for _, name := range []string{"mail", "mail/" + im.bare} {
		if err := to.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return sum, fmt.Errorf("copy the tree: %w", err)
		}
	}
	c := &cmdeploy.Copy{From: tree, To: to, Dir: "mail/" + im.bare, Live: im.order.Live}
	if err := c.DropOthers(accounts); err != nil {
		return sum, err
	}
	if sum, err = im.work(cmdeploy.Work{Tree: tree, Accounts: accounts, Before: c.Account}).Run(ctx); err != nil {
		return sum, err
	}
	if err := to.SyncFS(); err != nil {
		return sum, fmt.Errorf("copy the tree: %w", err)
	}
	return sum, nil
}

// adopt has the store read every account in the data directory.
func (im *Import) adopt(ctx context.Context, tree *cmdeploy.Tree, accounts []string) (sum cmdeploy.Sum, err error) {
	dir := im.Config.DataDir
	fsys, err := journal.OpenFS(dir)
	if err != nil {
		return sum, err
	}
	defer fsys.Close()
	if im.order.Copy {
		if tree, err = cmdeploy.OpenTree(filepath.Join(dir, "mail", im.bare), im.names.mail); err != nil {
			return sum, err
		}
		defer tree.Close()
	}
	if accounts, err = im.readPassDB(tree, accounts, fsys); err != nil {
		return sum, err
	}
	w := cmdeploy.Work{Tree: tree, Accounts: accounts}
	if _, err := fsys.Stat("journal"); err == nil {
		// An earlier run of this relay: what it has in its journal only comes
		// into files first.
		if err := onStoppedStore(im.Config, func(*local.Store) error { return nil }); err != nil {
			return sum, err
		}
		w.Before = func(_ context.Context, name string) (c cmdeploy.Copied, found []cmdeploy.Found, err error) {
			n, err := local.ForgetServed(fsys, "mail/"+im.bare+"/"+name)
			if n > 0 {
				found = append(found, cmdeploy.Found{Account: name, Finding: finding.Finding{
					ID: cmdeploy.FoundStale, Severity: finding.Info, Text: fmt.Sprintf("Dovecot has served %d of its mailboxes since this relay did: its UIDs count.", n),
				}})
			}
			return c, found, err
		}
	}
	cfg := storeConfig(im.Config, im.names, slog.New(slog.DiscardHandler), nil)
	cfg.Idle = time.Second // each account is looked at once
	s, err := local.Open(cfg)
	if err != nil {
		return sum, fmt.Errorf("open the store: %w", err)
	}
	w.Store = s
	work := im.work(w)
	if im.order.Copy {
		work.Report = func(f cmdeploy.Found) error {
			if f.Severity < finding.Fault {
				return nil // the copy told so already
			}
			return im.found(f)
		}
	}
	sum, err = work.Run(ctx)
	return sum, errors.Join(err, s.Close())
}
