package zone

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"barid/internal/wholefile"
)

// Policy is the text of the MTA-STS policy of a domain (RFC 8461 section 3.2):
// its one server is the domain itself, and has a valid certificate. Others
// remember it for four weeks.
func Policy(domain string) string {
	return "version: STSv1\r\nmode: enforce\r\nmx: " + domain + "\r\nmax_age: 2419200\r\n"
}

// stsFile is where the id of the policy is kept, in the data directory.
const stsFile = "mta-sts.json"

// kept is that file: an id that was published, and the policy it was for.
type kept struct {
	Policy string `json:"policy"` // SHA-256, in hex
	ID     string `json:"id"`
}

func policyHash(policy string) string {
	sum := sha256.Sum256([]byte(policy))
	return hex.EncodeToString(sum[:])
}

// PolicyID gives the id under which a policy is published. It changes when the
// policy does, and else never: it is made of the policy's text, unless the data
// directory knows of another that was published for the same text, by the
// software before this one for instance.
func PolicyID(dataDir, policy string) (string, error) {
	hash := policyHash(policy)
	k, err := readKept(dataDir)
	if err != nil {
		return "", err
	}
	if k.Policy == hash {
		return k.ID, nil
	}
	return hash[:20], nil
}

// KeepPolicyID remembers that an id was published while the policy was this
// one. An id that was published for another policy is refused, and so is what
// is no id: false.
func KeepPolicyID(dataDir, policy, id string) (bool, error) {
	hash := policyHash(policy)
	k, err := readKept(dataDir)
	switch {
	case err != nil:
		return false, err
	case !isPolicyID(id) || k.Policy != "" && k.Policy != hash && k.ID == id:
		return false, nil
	case k == kept{hash, id}:
		return true, nil
	}
	text, err := json.Marshal(kept{hash, id})
	if err != nil {
		return false, err
	}
	return true, wholefile.Write(filepath.Join(dataDir, stsFile), append(text, '\n'))
}

// isPolicyID is sts-id of RFC 8461 section 3.1.
func isPolicyID(id string) bool {
	return len(id) > 0 && len(id) <= 32 && strings.Trim(strings.ToLower(id), "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func readKept(dataDir string) (k kept, err error) {
	f, err := os.Open(filepath.Join(dataDir, stsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("read the id of the MTA-STS policy: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err == nil && k.ID != "" && !isPolicyID(k.ID) {
		err = errors.New("it has no id in it")
	}
	if err != nil {
		return kept{}, fmt.Errorf("read the id of the MTA-STS policy in %s: %w", f.Name(), err)
	}
	return k, nil
}
