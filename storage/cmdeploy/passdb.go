package cmdeploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"barid/internal/journal"
)

// PassUser is one row of the database that servers before 2024 kept their
// accounts in.
type PassUser struct {
	Address   string
	Hash      string // as it stands there, with its scheme
	LastLogin time.Time
}

// ReadPassDB reads the table users(addr, password, last_login) of the SQLite
// file at path, and gives the rows that are accounts: those of automatic tests
// ("ci-", "ac_") the reference passes over, too. ErrSQLite when it cannot be read as it lies,
// because it is broken, or has changes in a journal beside it.
func ReadPassDB(path string, f func(PassUser) error) error {
	for _, suffix := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(path + suffix); err == nil && info.Size() > 0 {
			return dbError(`%s%s has changes that are not in it yet; "sqlite3 %s 'PRAGMA wal_checkpoint(TRUNCATE)'" brings them in`, path, suffix, path)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the old database of accounts: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read the old database of accounts: %w", err)
	}
	d, err := openDatabase(file, info.Size())
	if err == nil {
		err = d.users(f)
	}
	if err != nil {
		return fmt.Errorf("read the old database of accounts: %w", err)
	}
	return nil
}

func (d *database) users(f func(PassUser) error) error {
	root, names, err := d.columns("users")
	if err != nil {
		return err
	}
	addr, password, login := slices.Index(names, "addr"), slices.Index(names, "password"), slices.Index(names, "last_login")
	if addr < 0 || password < 0 {
		return dbError("the table users has no columns addr and password")
	}
	return d.table(root, func(row []any) error {
		var u PassUser
		u.Address, _ = column(row, addr).(string)
		u.Hash, _ = column(row, password).(string)
		if seconds, ok := column(row, login).(int64); ok && seconds > 0 && seconds < 1<<33 {
			u.LastLogin = time.Unix(seconds, 0)
		}
		if u.Address == "" || u.Hash == "" || strings.HasPrefix(u.Address, "ci-") || strings.HasPrefix(u.Address, "ac_") {
			return nil
		}
		return f(u)
	})
}

// column gives a column; a row made before its column was added is shorter.
func column(row []any, i int) any {
	if i < 0 || i >= len(row) {
		return nil
	}
	return row[i]
}

// Has tells whether an account of that address has a password file.
func (t *Tree) Has(address string) bool {
	if !t.ours(address) {
		return false
	}
	info, err := t.fs.Stat(address + "/" + passwordName)
	return err == nil && info.Size() > 0
}

// Ours tells whether an account of this relay can have that address.
func (t *Tree) Ours(address string) bool { return t.ours(address) }

// WritePassword makes the password file of an account in dir, below to, with
// the day of its last login, and its directory where there is none.
func WritePassword(to journal.FS, dir string, u PassUser) error {
	account := path.Join(dir, u.Address)
	if err := to.Mkdir(account); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make an account directory: %w", err)
	}
	name := path.Join(account, passwordName)
	f, err := to.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("write a password file: %w", err)
	}
	_, err = f.Write([]byte(u.Hash))
	err = errors.Join(err, f.Close())
	if t, ok := to.(journal.Toucher); ok && err == nil && !u.LastLogin.IsZero() {
		err = t.Touch(name+".new", u.LastLogin.UTC().Truncate(24*time.Hour))
	}
	if err == nil {
		err = to.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("write a password file: %w", err)
	}
	return nil
}
