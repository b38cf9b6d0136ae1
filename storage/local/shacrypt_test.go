package local

import (
	"strings"
	"testing"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// The hashes are the scheme's: those published with it, and what the library
// makes of passwords and salts of every length.
func TestCrypt512IsTheSchemeOfOthers(t *testing.T) {
	const published = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
	if ok, known := verifyCrypt512(published, "Hello world!"); !ok || !known {
		t.Error(ok, known)
	}
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(rounds))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 7, 21, 22, 23, 63, 64, 65, 127, 128, 200, maxPassword} {
		password := strings.Repeat("pässword", n)[:n]
		salt := cryptAlphabet[n%40 : n%40+1+n%saltSize]
		d, err := h.HashWithSalt(password, []byte(salt))
		if err != nil {
			t.Fatal(err)
		}
		theirs := strings.Replace(d.Encode(), "rounds=5000$", "", 1)
		ours := crypt512 + salt + "$" + string(cryptDigits(crypt512Sum(password, salt)))
		if ours != theirs {
			t.Errorf("%d octets, salt of %d: %s, the library has %s", n, len(salt), ours, theirs)
		}
	}
}

// A new hash is taken by the library, and differs each time.
func TestNewCrypt512IsReadByOthers(t *testing.T) {
	a, b := newCrypt512("secret"), newCrypt512("secret")
	if a == b {
		t.Error("two hashes with one salt")
	}
	for _, hash := range []string{a, b} {
		d, err := schemes.Decode(hash)
		if err != nil {
			t.Fatal(err)
		}
		if !d.Match("secret") || d.Match("Secret") {
			t.Errorf("the library does not take %s", hash)
		}
		if ok, known := verifyCrypt512(hash, "Secret"); ok || !known {
			t.Error(ok, known)
		}
	}
}

// What is of another form is left to the library.
func TestCrypt512LeavesOtherFormsAlone(t *testing.T) {
	sum := strings.Repeat("a", cryptSize)
	for _, hash := range []string{
		"", "$6$", "$5$salt$" + sum, "$6$rounds=1000$salt$" + sum, "$6$salt$" + sum[1:], "$6$salt$" + sum + "a",
		"$6$salt-longer-than-sixteen$" + sum, "$6$salt" + sum,
	} {
		if ok, known := verifyCrypt512(hash, "x"); ok || known {
			t.Errorf("%q: %v %v", hash, ok, known)
		}
	}
}

func BenchmarkCrypt512(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newCrypt512("n00000001abcdefghijklm")
	}
}
