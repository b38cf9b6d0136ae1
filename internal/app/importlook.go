package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"barid/internal/finding"
	"barid/internal/journal"
	"barid/storage/cmdeploy"
)

// look tells of the keys and of this machine, before anything begins.
func (im *Import) look() error {
	for i := range im.rows {
		if err := im.send(ImportLine{Setting: &im.rows[i]}); err != nil {
			return err
		}
	}
	if im.order.Config != nil {
		if err := im.say("import.config", finding.Info, "There is a configuration already; it stands, and the keys above change nothing in it.", ""); err != nil {
			return err
		}
	}
	if text, err := os.ReadFile(filepath.Join(im.order.Root, "/etc/mailname")); err == nil && strings.TrimSpace(string(text)) != im.names.mail && strings.TrimSpace(string(text)) != im.bare {
		if err := im.say("import.mailname", finding.Warning, "/etc/mailname has another domain than chatmail.ini.", "Look whether this is the file of this server."); err != nil {
			return err
		}
	}
	if err := im.lookBusy(); err != nil {
		return err
	}
	return im.lookSpool()
}

// lookBusy refuses while somebody works on the tree, unless it is copied live.
func (im *Import) lookBusy() error {
	if im.order.Copy && im.order.Live {
		return nil
	}
	busy, blind, err := cmdeploy.Busy(im.order.Proc, im.mail, im.order.OtherDovecot)
	if err != nil {
		return err
	}
	for _, p := range busy {
		remedy := "Stop it, and keep it from being started again (systemctl disable --now)."
		if p.Name == "dovecot" {
			remedy += " If that Dovecot has other mail, say --other-dovecot."
		}
		if err := im.say("import.busy", finding.Fault, p.String()+".", remedy); err != nil {
			return err
		}
	}
	if blind && os.Geteuid() != 0 {
		return im.say("import.blind", finding.Warning, "Processes of other users could not be looked at.", "Make sure that nothing of the old relay runs, or import as root.")
	}
	return nil
}

// lookSpool refuses while mail waits in Postfix's queue.
func (im *Import) lookSpool() error {
	n, err := cmdeploy.Spool(filepath.Join(im.order.Root, "/var/spool/postfix"))
	if err != nil {
		return im.say("import.spool", finding.Warning, "Postfix's queue could not be looked at: "+err.Error()+".", `See that "postqueue -p" is empty.`)
	}
	if n == 0 {
		return nil
	}
	severity := finding.Fault
	if im.order.LeaveQueue || im.order.Live {
		severity = finding.Warning
	}
	return im.say("import.spool", severity, fmt.Sprintf("Postfix's queue has %s that this relay does not take over.", countedMessages(n)),
		`Close port 25 and submission, say "postqueue -f" until "postqueue -p" is empty, then stop Postfix; or leave it there with --leave-queue.`)
}

func countedMessages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// readPassDB takes over the accounts of a database that servers before 2024
// have, into to; or only tells of them, when it is nil. It gives all accounts
// there are then.
func (im *Import) readPassDB(tree *cmdeploy.Tree, accounts []string, to journal.FS) ([]string, error) {
	path, _ := im.ini.Get("passdb_path")
	if path == "" {
		path = "/home/vmail/passdb.sqlite"
	}
	path = im.old(path)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return accounts, nil
	}
	var added []string
	others := 0
	im.fromDB = map[string]bool{}
	err := cmdeploy.ReadPassDB(path, func(u cmdeploy.PassUser) error {
		switch {
		case !tree.Ours(u.Address):
			others++
			return nil
		case tree.Has(u.Address):
			return nil
		}
		added = append(added, u.Address)
		im.fromDB[u.Address] = true
		if to == nil {
			return nil
		}
		return cmdeploy.WritePassword(to, "mail/"+im.bare, u)
	})
	if errors.Is(err, cmdeploy.ErrSQLite) {
		if to != nil {
			return accounts, nil // said before
		}
		return accounts, im.say("import.passdb", finding.Fault, err.Error()+".",
			"Accounts that have no password file yet are left out until it can be read.")
	}
	all := slices.Concat(accounts, added)
	slices.Sort(all)
	all = slices.Compact(all)
	if err != nil || to != nil {
		return all, err
	}
	text := fmt.Sprintf("%s has the passwords of %d accounts that had no password file.", path, len(added))
	if others > 0 {
		text += fmt.Sprintf(" %d others cannot be accounts of this relay.", others)
	}
	return all, im.say("import.passdb", finding.Info, text, "")
}
