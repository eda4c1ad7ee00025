"""Parameters of varied faces only (see `varied`), and the values by which all other faces are drawn as before."""

ADDITIONS: dict[str, float] = {
    "brow_half": 0.175, "nose_under": 0.085, "teeth": 0.5, "key_r": 1.0, "key_g": 1.0, "key_b": 1.0,
    "hat": 0.0, "hat_r": 0.0, "hat_g": 0.0, "hat_b": 0.0, "hat_low": 0.0,
    "hand": 0.0, "hand_x": 0.0, "hand_y": 0.0, "hand_turn": 0.0, "jaw_depth": 0.0,
}  # fmt: skip
