package keeper

import (
	"errors"
	"os"
	"time"
)

// diskPause is how long it waits before it tries again what the disk does not do, as where it is full.
const diskPause = time.Second

// The disk may be full for a while, or fail. What is under way then goes on when it works again, and not with the next start.

// insist does something with a letter's file until it is done. It says whether the letter is there.
func (k *Keeper) insist(do func() error) bool {
	for pause := diskPause; ; pause = min(2*pause, time.Minute) {
		err := do()
		if err == nil {
			return true
		}
		if errors.Is(err, os.ErrNotExist) || !k.sleep(pause) {
			return false
		}
	}
}

// read reads a letter that waits. It does not insist, because others wait for its turn: an error is a failure to deliver.
func (k *Keeper) read(id int64) (letter Letter, waits bool, err error) {
	letter, err = k.letters.read(id)
	if errors.Is(err, os.ErrNotExist) {
		return letter, false, nil
	}
	return letter, err != nil || letter.Again != nil, err
}

// change writes a letter that waits, and says whether it goes on to wait.
func (k *Keeper) change(id int64, change func(*Letter)) (waits bool) {
	k.insist(func() error {
		letter, err := k.letters.read(id)
		if err != nil || letter.Again == nil {
			return err
		}
		change(&letter)
		if waits = letter.Again != nil; !waits {
			letter.Died = time.Now().UTC()
		}
		return k.letters.set(&letter)
	})
	return waits
}

// drop removes a letter that has arrived.
func (k *Keeper) drop(id int64) { k.insist(func() error { return k.letters.remove(id) }) }

// sleep waits, and says whether the keeper goes on.
func (k *Keeper) sleep(pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-k.ctx.Done():
		return false
	}
}
