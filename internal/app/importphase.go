package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"barid/internal/wholefile"
)

// importFile is in a data directory that was imported.
const importFile = "import.json"

// The phases of an import.
const (
	phaseCopying  = "copying"
	phaseAdopting = "adopting"
	phaseDone     = "done"
)

// importPhase is what importFile has: how far an import came, so that one that
// was cut off goes on, and one that is repeated destroys nothing.
type importPhase struct {
	Phase   string `json:"phase"` // empty: there was none
	Journal string `json:"journal,omitempty"`
}

// readPhase reads it.
func readPhase(dir string) (p importPhase, err error) {
	text, err := os.ReadFile(filepath.Join(dir, importFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, fmt.Errorf("read %s of an earlier import: %w", importFile, err)
	}
	return p, nil
}

// set notes a phase, durably.
func (p *importPhase) set(dir, phase string) (err error) {
	p.Phase, p.Journal = phase, ""
	if phase == phaseDone {
		if p.Journal, err = journalState(dir); err != nil {
			return err
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(dir, importFile), append(text, '\n'))
}

// journalState tells one state of a closed store from any later one: a store
// that is opened writes to its journal.
func journalState(dir string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "journal"))
	if err != nil {
		return "", fmt.Errorf("look at the journal: %w", err)
	}
	var state []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return "", fmt.Errorf("look at the journal: %w", err)
		}
		state = append(state, fmt.Sprintf("%s %d %d", e.Name(), info.Size(), info.ModTime().UnixNano()))
	}
	slices.Sort(state)
	return strings.Join(state, ", "), nil
}

// mayCopy refuses a data directory in which a relay has worked: a copy would
// take away what it received.
func (p importPhase) mayCopy(dir string) error {
	if p.Phase == phaseDone {
		state, err := journalState(dir)
		if err != nil {
			return err
		}
		if state == p.Journal {
			return nil
		}
		return fmt.Errorf("a relay has run on %s since it was imported; a copy would take away what it received: name another directory with --data-dir, or remove this one", dir)
	}
	if p.Phase != "" {
		return nil
	}
	for _, name := range []string{"journal", "mail"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s is the data directory of a relay that was not imported: name another one with --data-dir", dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
