package invites

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"unicode/utf8"
)

const (
	fileName    = "invites"
	newName     = "invites.new"
	damagedName = "invites.damaged"

	magic = "barid-invites 1 "
	// maxFile bounds the file, in octets: all invitations and reservations that
	// may be, with room.
	maxFile = 8 << 20
)

// errDamaged is inside the error of a file that is none of ours.
var errDamaged = errors.New("the file is damaged")

// The file, as JSON has it.
type (
	content struct {
		Key      []byte         `json:"key"`
		Invites  []keptInvite   `json:"invites"`
		Reserved []keptReserved `json:"reserved"`
	}
	keptInvite struct {
		ID      string `json:"id"`
		Token   []byte `json:"token"` // its keyed hash
		Note    string `json:"note,omitempty"`
		Uses    int    `json:"uses"`
		Born    int    `json:"born"`
		Made    int64  `json:"made"`
		Expires int64  `json:"expires"`
	}
	keptReserved struct {
		Address []byte `json:"address"` // its keyed hash
		Invite  string `json:"invite"`
		Until   int64  `json:"until"`
		Taken   bool   `json:"taken,omitempty"`
	}
)

// encode gives the file: the magic word with the SHA-256 of what follows, and
// the JSON.
func (st *state) encode() ([]byte, error) {
	c := content{Key: st.key[:]}
	for _, in := range st.invites {
		c.Invites = append(c.Invites, keptInvite{in.id, in.token[:], in.note, in.uses, in.born, in.made, in.expires})
	}
	hashes := slices.SortedFunc(maps.Keys(st.reserved), func(x, y addressHash) int { return bytes.Compare(x[:], y[:]) })
	for _, h := range hashes {
		r := st.reserved[h]
		c.Reserved = append(c.Reserved, keptReserved{h[:], r.invite, r.until, r.taken})
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return resum(text), nil
}

// resum puts the first line before the JSON.
func resum(text []byte) []byte {
	return fmt.Appendf(nil, "%s%x\n%s", magic, sha256.Sum256(text), text)
}

// decode reads what encode made. The error wraps errDamaged.
func decode(file []byte) (*state, error) {
	bad := func(why string) (*state, error) { return nil, fmt.Errorf("%w: %s", errDamaged, why) }
	line, text, ok := bytes.Cut(file, []byte("\n"))
	digits, ours := bytes.CutPrefix(line, []byte(magic))
	if !ok || !ours {
		return bad("it does not begin as one of this version")
	}
	sum := sha256.Sum256(text)
	if hex.EncodeToString(sum[:]) != string(digits) {
		return bad("the sum is wrong")
	}
	var c content
	if err := json.Unmarshal(text, &c); err != nil {
		return bad(err.Error())
	}
	if len(c.Key) != 32 || len(c.Invites) > MaxInvites || len(c.Reserved) > MaxReservations {
		return bad("a number is out of bounds")
	}
	st := &state{key: [32]byte(c.Key), reserved: make(map[addressHash]reservation, len(c.Reserved))}
	for _, in := range c.Invites {
		if in.ID == "" || len(in.ID) > 20 || len(in.Token) != 32 || in.Uses < 1 || in.Uses > MaxUses || in.Born < 0 || len(in.Note) > MaxNote || !utf8.ValidString(in.Note) || st.byID(in.ID) != nil {
			return bad("an invitation is none")
		}
		st.invites = append(st.invites, invite{in.ID, tokenHash(in.Token), in.Note, in.Uses, in.Born, in.Made, in.Expires})
	}
	for _, r := range c.Reserved {
		if len(r.Address) != 16 || len(r.Invite) > 20 {
			return bad("a reservation is none")
		}
		st.reserved[addressHash(r.Address)] = reservation{r.Invite, r.Until, r.Taken}
	}
	return st, nil
}

// read gives what the file has, nil when there is none.
func (b *Book) read() (*state, error) {
	f, err := b.cfg.FS.OpenFile(fileName, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: it has more than %d octets", errDamaged, maxFile)
	}
	return decode(text)
}

// putAside keeps a damaged file under another name.
func (b *Book) putAside() error {
	if err := b.cfg.FS.Rename(fileName, damagedName); err != nil {
		return err
	}
	if b.cfg.NoSync {
		return nil
	}
	return b.cfg.FS.SyncDir(".")
}

// write makes the file anew. It has its name only once it is whole on disk.
func (b *Book) write(st *state) error {
	text, err := st.encode()
	if err != nil {
		return err
	}
	f, err := b.cfg.FS.OpenFile(newName, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && !b.cfg.NoSync {
		err = f.Datasync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := b.cfg.FS.Rename(newName, fileName); err != nil {
		return err
	}
	if b.cfg.NoSync {
		return nil
	}
	return b.cfg.FS.SyncDir(".")
}
