package cmdeploy

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"barid/internal/journal"
)

func readDB(t *testing.T, path string) (users map[string]PassUser, err error) {
	t.Helper()
	users = map[string]PassUser{}
	err = ReadPassDB(path, func(u PassUser) error { users[u.Address] = u; return nil })
	return users, err
}

// The database that SQLite 3.40 made: several levels of pages, a row that goes
// on in other pages, one that was made before its last column, one that was
// deleted, and accounts of automatic tests.
func TestReadsTheDatabaseOfOldServers(t *testing.T) {
	users, err := readDB(t, "testdata/passdb.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	if len(users) != 61 {
		t.Errorf("%d accounts", len(users))
	}
	for _, want := range []PassUser{
		{"user00059@relay.test", "{SHA512-CRYPT}$6$" + strings.Repeat("x", 20) + "59", time.Unix(1700000000+59*86400, 0)},
		{"long00001@relay.test", "$6$" + strings.Repeat("y", 1500), time.Time{}},
		{"older0001@relay.test", "{SHA512-CRYPT}$6$older", time.Time{}},
	} {
		if got := users[want.Address]; got.Hash != want.Hash || !got.LastLogin.Equal(want.LastLogin) {
			t.Errorf("%+v, not %+v", got, want)
		}
	}
	if _, there := users["user00003@relay.test"]; there {
		t.Error("a row that was deleted is there")
	}
}

// What cannot be read as it lies is refused: with changes beside it, torn, or
// no database at all.
func TestRefusesADatabaseThatIsNotWhole(t *testing.T) {
	whole, err := os.ReadFile("testdata/passdb.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, string(whole), dir, "wal.sqlite")
	put(t, "changes", dir, "wal.sqlite-wal")
	put(t, string(whole[:len(whole)/2]), dir, "half.sqlite")
	put(t, "SQLite format 2", dir, "other.sqlite")
	put(t, "", dir, "empty.sqlite")
	for _, name := range []string{"wal.sqlite", "half.sqlite", "other.sqlite", "empty.sqlite"} {
		if _, err := readDB(t, filepath.Join(dir, name)); !errors.Is(err, ErrSQLite) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An account of the database gets its password file, with its last login.
func TestWritesPasswordsOfTheDatabase(t *testing.T) {
	dataDir, dir := newTree(t)
	fsys, err := journal.OpenFS(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	tree := openTree(t, dir)
	u := PassUser{"carol0001@relay.test", hash, time.Date(2024, 3, 1, 17, 0, 0, 0, time.UTC)}
	if tree.Has(u.Address) || tree.Has("../x@relay.test") {
		t.Error("is there already")
	}
	if err := WritePassword(fsys, "mail/relay.test", u); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, u.Address, "password"))
	if err != nil || !tree.Has(u.Address) || info.ModTime().UTC().Format(time.DateTime) != "2024-03-01 00:00:00" {
		t.Errorf("%v, %v", info, err)
	}
}

func FuzzReadPassDB(f *testing.F) {
	tiny, err := os.ReadFile("testdata/passdb.sqlite")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tiny[:512*8])
	f.Add(tiny)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := openDatabase(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		rows := 0
		err = d.users(func(u PassUser) error {
			if u.Address == "" || u.Hash == "" {
				t.Fatalf("%+v", u)
			}
			rows++
			return nil
		})
		if err != nil && !errors.Is(err, ErrSQLite) {
			t.Fatal(err)
		}
		if rows > len(b) {
			t.Fatalf("%d rows of %d octets", rows, len(b))
		}
	})
}
