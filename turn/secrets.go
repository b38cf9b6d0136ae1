package turn

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	day = 24 * time.Hour
	// validFor is added to the begin of the day in which credentials are given,
	// and then the budget's seconds: they are good for five to seven days.
	validFor = 6 * day
	// longest is how long any credentials are good at most.
	longest = 7 * day
	// buckets are the budgets. Two accounts share one rarely.
	buckets = 86_400

	secretSize = 32
	maxSecrets = 32
)

// Credentials are what a client of the relay logs in with, for some days. The
// user name is the moment at which they end, in seconds of the Unix epoch, as
// clients expect it; its remainder by the seconds of a day tells the budget
// and nothing else about the account.
type Credentials struct{ Username, Password string }

// Secrets are what credentials are made of: the newest for new ones, earlier
// ones until the last that they made has ended. Safe for many goroutines.
//
// The file has a line per secret, the oldest first: when it was made in
// seconds of the Unix epoch, and 32 octets in hexadecimal.
type Secrets struct {
	path string

	mu   sync.Mutex // guards the field below
	list []secret
}

type secret struct {
	made int64
	key  [secretSize]byte
}

// OpenSecrets reads the secrets in a file, which is made, with a new one, when
// it is not there.
func OpenSecrets(path string, now time.Time) (*Secrets, error) {
	s := &Secrets{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.Rotate(now)
	}
	if err != nil {
		return nil, fmt.Errorf("secrets of TURN: %w", err)
	}
	if s.list, err = readSecrets(text); err != nil {
		return nil, fmt.Errorf("secrets of TURN in %s: %w", path, err)
	}
	return s, nil
}

func readSecrets(text []byte) (list []secret, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var one secret
		made, key, ok := bytes.Cut(lines.Bytes(), []byte(" "))
		n, err := hex.Decode(one.key[:], key[:min(len(key), 2*secretSize)])
		if !ok || err != nil || n != secretSize || len(key) != 2*secretSize {
			return nil, fmt.Errorf("line %d is no secret", len(list)+1)
		}
		if one.made, err = strconv.ParseInt(string(made), 10, 64); err != nil {
			return nil, fmt.Errorf("line %d has no time", len(list)+1)
		}
		if list = append(list, one); len(list) > maxSecrets {
			return nil, fmt.Errorf("more than %d secrets", maxSecrets)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("the file is empty; without it a new one is made")
	}
	return list, lines.Err()
}

// Rotate makes a new secret for credentials from now on. Those that were given
// before stay good until they end.
func (s *Secrets) Rotate(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.list)
	for len(list) > 1 && list[1].made+int64(longest/time.Second) < now.Unix() {
		list = list[1:] // its successor is older than whatever it made
	}
	if len(list) >= maxSecrets {
		return fmt.Errorf("rotate the secret of TURN: there are %d, made within a week", len(list))
	}
	one := secret{made: now.Unix()}
	rand.Read(one.key[:]) // never fails, see crypto/rand
	list = append(list, one)
	if err := writeSecrets(s.path, list); err != nil {
		return fmt.Errorf("rotate the secret of TURN: %w", err)
	}
	s.list = list
	return nil
}

// writeSecrets replaces the file, durably.
func writeSecrets(path string, list []secret) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for _, one := range list {
		if _, err = fmt.Fprintf(f, "%d %x\n", one.made, one.key); err != nil {
			break
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Issue gives credentials to an account. Within a day they are the same.
func (s *Secrets) Issue(account string, now time.Time) Credentials {
	s.mu.Lock()
	key := s.list[len(s.list)-1].key
	s.mu.Unlock()
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte("budget of " + account))
	bucket := binary.BigEndian.Uint64(m.Sum(nil)) % buckets
	ends := now.UTC().Truncate(day).Add(validFor).Unix() + int64(bucket)
	username := strconv.FormatInt(ends, 10)
	return Credentials{username, password(key, username)}
}

// password is the one of a user name, as servers and clients agreed on.
func password(key [secretSize]byte, username string) string {
	m := hmac.New(sha1.New, key[:])
	m.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// errUsername refuses user names that no credentials have now.
var errUsername = errors.New("no such user name now")

// of gives the passwords that a user name may have, the likeliest first, and
// its budget. errUsername when it has none: it ended, or never was given.
func (s *Secrets) of(username string, now time.Time) (passwords []string, bucket int, err error) {
	if len(username) == 0 || len(username) > 12 {
		return nil, 0, errUsername
	}
	var ends int64
	for _, c := range []byte(username) {
		if c < '0' || c > '9' {
			return nil, 0, errUsername
		}
		ends = ends*10 + int64(c-'0')
	}
	if left := ends - now.Unix(); left <= 0 || left > int64((longest+time.Hour)/time.Second) {
		return nil, 0, errUsername // an hour, if our clock was put back
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range slices.Backward(s.list) {
		// An earlier secret made nothing that ends later than this: who got hold
		// of it can make nothing new a week after its successor came.
		if i+1 < len(s.list) && ends >= lastOf(s.list[i+1].made) {
			continue
		}
		passwords = append(passwords, password(one.key, username))
	}
	return passwords, int(ends % buckets), nil
}

// lastOf is when all credentials have ended that were given until a moment.
func lastOf(given int64) int64 {
	return time.Unix(given, 0).UTC().Truncate(day).Add(longest).Unix()
}
