package maildir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"barid/storage"
)

// maxName is what file systems take for one name, in octets.
const maxName = 255

// Name is the name of one message file, read apart.
//
// Names of other servers keep every part we do not know: the keys between
// base and flags, and letters of flags that are no system flag (keywords a to
// z, passed P). The zero Name is no name.
type Name struct {
	// Base is the unique part, up to the first "," or ":".
	Base string
	// Size is the value of ",S=", the octets of the content as a client sees
	// it, or -1 when the name does not tell.
	Size int64
	// UID is the value of ",U=", zero when the name does not tell.
	UID uint32
	// Flags are the system flags.
	Flags storage.Flags

	rest    string // ",K=v" of keys we do not know, as they came
	letters string // other flag letters, ascending
	bare    bool   // came without ":2," and has no flags
	stem    stem   // as it came, so that it goes unchanged
}

// stem is what stood before the flags in a name that was read.
type stem struct {
	text, base string
	size       int64
	uid        uint32
}

// ParseName reads the name of a file in cur or new. It is false for names
// that no message has: empty, hidden, too long, or with a slash or NUL.
func ParseName(s string) (Name, bool) {
	if !isName(s) {
		return Name{}, false
	}
	text, info, hasInfo := strings.Cut(s, ":")
	base, keys, _ := strings.Cut(text, ",")
	n := Name{Base: base, Size: -1, bare: !hasInfo}
	n.parseKeys(keys)
	n.stem = stem{text, base, n.Size, n.UID}
	if letters, ok := strings.CutPrefix(info, "2,"); ok {
		n.parseFlags(letters)
	}
	return n, true
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && s[0] != '.' && s[0] != ',' && s[0] != ':' &&
		strings.IndexByte(s, '/') < 0 && strings.IndexByte(s, 0) < 0
}

func (n *Name) parseKeys(keys string) {
	for key := range strings.SplitSeq(keys, ",") {
		if value, ok := strings.CutPrefix(key, "S="); ok && n.Size < 0 {
			if size, err := strconv.ParseUint(value, 10, 63); err == nil {
				n.Size = int64(size)
				continue
			}
		}
		if value, ok := strings.CutPrefix(key, "U="); ok && n.UID == 0 {
			if uid, err := strconv.ParseUint(value, 10, 32); err == nil && uid != 0 {
				n.UID = uint32(uid)
				continue
			}
		}
		if key != "" {
			n.rest += "," + key
		}
	}
}

func (n *Name) parseFlags(letters string) {
	var other []byte
	for i := range len(letters) {
		if flag := flagOf(letters[i]); flag != 0 {
			n.Flags |= flag
		} else {
			other = append(other, letters[i])
		}
	}
	slices.Sort(other)
	n.letters = string(slices.Compact(other))
}

// Stem is the name without its flags: what dovecot-uidlist has, and what
// stays when flags change.
func (n Name) Stem() string {
	if n.stem.text != "" && n.stem.base == n.Base && n.stem.size == n.Size && n.stem.uid == n.UID {
		return n.stem.text
	}
	var b strings.Builder
	b.WriteString(n.Base)
	if n.Size >= 0 {
		fmt.Fprintf(&b, ",S=%d", n.Size)
	}
	if n.UID != 0 {
		fmt.Fprintf(&b, ",U=%d", n.UID)
	}
	b.WriteString(n.rest)
	return b.String()
}

// String is the name as it stands in cur. A name that was read without flags,
// as they are in new, stays without until it has one.
func (n Name) String() string {
	letters := []byte(n.letters)
	for _, f := range flagLetters {
		if n.Flags&f.flag != 0 {
			letters = append(letters, f.letter)
		}
	}
	if n.bare && len(letters) == 0 {
		return n.Stem()
	}
	slices.Sort(letters)
	return n.Stem() + ":2," + string(letters)
}

// InCur is the name with a flags part, as files in cur have it.
func (n Name) InCur() Name {
	n.bare = false
	return n
}

// Received is when the message came, from the seconds that begin its base;
// the zero time when they do not.
func (n Name) Received() time.Time {
	digits, _, _ := strings.Cut(n.Base, ".")
	seconds, err := strconv.ParseUint(digits, 10, 40) // up to the year 36812
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// flagLetters are the letters of the system flags, ascending. Source:
// cr.yp.to/proto/maildir.html ("info").
var flagLetters = [...]struct {
	letter byte
	flag   storage.Flags
}{
	{'D', storage.FlagDraft},
	{'F', storage.FlagFlagged},
	{'R', storage.FlagAnswered},
	{'S', storage.FlagSeen},
	{'T', storage.FlagDeleted},
}

func flagOf(letter byte) storage.Flags {
	for _, f := range flagLetters {
		if f.letter == letter {
			return f.flag
		}
	}
	return 0
}

// NewBase makes the base of a new file: the time in seconds, then the
// sequence number of the record that asks for the file and the place n in that
// record. As sequence numbers never come again, neither does a base.
func NewBase(received time.Time, seq uint64, n int) string {
	return fmt.Sprintf("%d.Q%dN%d.barid", max(received.Unix(), 0), seq, n)
}

// Keywords are the letters that are no system flag, as they stand in the name:
// a to z for keywords, whose names dovecot-keywords has, and what other
// programs put there.
func (n Name) Keywords() string { return n.letters }
