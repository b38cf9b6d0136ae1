package dkim

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// verify lets the library check one signature that passed all that is asked
// in front of it, with one key. The owner is where the key is published.
//
// One signature at a time, it works in this goroutine and leaves none behind,
// whatever the reader does. With several it hashes the body for each as well,
// in goroutines that stay when the body cannot be read.
//
// What can still be wrong is little, and its error says no more than its
// kind: a signature that does not hold (Mismatch), or a lasting fault, of
// which only its own clock is left. By ours the signature is in time, so that
// one is for holdsLate. A body that cannot be read is ErrContent.
func verify(s *signature, owner string, k *key, header string, body io.Reader) error {
	// The library copies by way of a WriterTo, which would take a buffer of
	// 32 KiB for each message.
	message := struct{ io.Reader }{io.MultiReader(strings.NewReader(header), body)}
	all, err := dkim.VerifyWithOptions(message, &dkim.VerifyOptions{
		MaxVerifications: 1, // others may be there, as fields that h= names
		LookupTXT: func(asked string) ([]string, error) {
			if !strings.EqualFold(asked, owner) {
				return nil, errors.New("another signature than the one that was judged")
			}
			return []string{k.text()}, nil
		},
	})
	switch {
	case err != nil && !errors.Is(err, dkim.ErrTooManySignatures):
		return fmt.Errorf("%w: %w", ErrContent, err)
	case len(all) != 1:
		return Syntax
	case all[0].Err == nil:
		return nil
	case !dkim.IsPermFail(all[0].Err):
		return Mismatch
	case all[0].Err.Error() != libraryExpired:
		return Syntax
	case !holdsLate(s, k, header):
		return Mismatch
	}
	return nil
}

// libraryExpired is how the library says that x= has passed.
const libraryExpired = "dkim: signature has expired"

// sign begins a signature of the library's: relaxed for the header, simple for
// the body, dated by the clock of the machine. Its Close must be called.
func sign(domain string, k Key, names []string) (*dkim.Signer, error) {
	return dkim.NewSigner(&dkim.SignOptions{
		Domain: domain, Selector: k.Selector, Signer: k.private, HeaderKeys: names,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationSimple,
	})
}
