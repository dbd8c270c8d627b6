"""The publications that methods, networks, front ends and data sets here come from, each written once.

They are the citations of those that declare one, the references of a technical report, and the lists in README.md,
docs/index.md and CITATION.cff, which a test compares with these.
"""

# What the organisers of the challenge ask to be cited: data set, challenge, and the recordings it was made of.
TAU = (
    "T. Heittola, A. Mesaros, T. Virtanen, Acoustic scene classification in DCASE 2020 Challenge: generalization "
    "across devices and low complexity solutions, DCASE 2020 Workshop, 56-60. arXiv:2005.14623."
)
CHALLENGE = (
    "I. Martín-Morató, F. Paissan, A. Ancilotto, T. Heittola, A. Mesaros, E. Farella, A. Brutti, T. Virtanen, "
    "Low-complexity acoustic scene classification in DCASE 2022 Challenge, 2022. arXiv:2206.03835."
)
RECORDINGS = (
    "A. Mesaros, T. Heittola, T. Virtanen, A multi-device dataset for urban acoustic scene classification, DCASE 2018 "
    "Workshop, 9-13."
)
ASKED_FOR = (TAU, CHALLENGE, RECORDINGS)

ESC50 = "K. J. Piczak, ESC: dataset for environmental sound classification, ACM Multimedia 2015."
DCASE2013 = (
    "D. Stowell, D. Giannoulis, E. Benetos, M. Lagrange, M. D. Plumbley, Detection and classification of acoustic "
    "scenes and events, IEEE Transactions on Multimedia, 2015."
)
COCHLSCENE = (
    "I.-Y. Jeong, J. Park, CochlScene: acquisition of acoustic scene data using crowdsourcing, APSIPA ASC 2022."
)
URBANSOUND8K = (
    "J. Salamon, C. Jacoby, J. P. Bello, A dataset and taxonomy for urban sound research, ACM Multimedia 2014."
)
AUDIOSET = (
    "J. F. Gemmeke, D. P. W. Ellis, D. Freedman, A. Jansen, W. Lawrence, R. C. Moore, M. Plakal, M. Ritter, Audio Set: "
    "an ontology and human-labeled dataset for audio events, ICASSP 2017."
)
AUDIOSET_STRONG = (
    "S. Hershey, D. P. W. Ellis, E. Fonseca, A. Jansen, C. Liu, R. C. Moore, M. Plakal, The benefit of "
    "temporally-strong labels in audio event classification, ICASSP 2021. arXiv:2105.07031."
)
FSD50K = (
    "E. Fonseca, X. Favory, J. Pons, F. Font, X. Serra, FSD50K: an open dataset of human-labeled sound events, 2020. "
    "arXiv:2010.00475."
)
URBAN_SED = (
    "J. Salamon, D. MacConnell, M. Cartwright, P. Li, J. P. Bello, Scaper: a library for soundscape synthesis and "
    "augmentation, WASPAA 2017, 344-348."
)

CP_MOBILE = "F. Schmid et al., Distilling the knowledge of transformers and CNNs with CP-Mobile, DCASE 2023 Workshop."
CNN_GRU = (
    "E. Cakir et al., Convolutional recurrent neural networks for polyphonic sound event detection, IEEE/ACM TASLP "
    "2017."
)
CNN_GRU_2025 = (
    "E.-L. Tan et al., code of the submission SNTL_NTU to DCASE 2025 Task 1, https://github.com/joesephgit/DCASE2025, "
    "2025."
)
TF_SEPNET = (
    "Y. Cai, P. Zhang, S. Li, TF-SepNet: an efficient 1D kernel design in CNNs for low-complexity acoustic scene "
    "classification, ICASSP 2024."
)
BC_RESNET = (
    "B. Kim, S. Chang, J. Lee, D. Sung, Broadcasted residual learning for efficient keyword spotting, Interspeech 2021."
)
REP_MOBILE = (
    "B. Han et al., Data-efficient low-complexity acoustic scene classification via distilling and progressive "
    "pruning, arXiv:2410.20775, 2024."
)
CP_RESNET = (
    "K. Koutini et al., Receptive field regularization techniques for audio classification and tagging with deep "
    "convolutional neural networks, IEEE/ACM TASLP 2021."
)
PASST = "K. Koutini et al., Efficient training of audio transformers with patchout, Interspeech 2022."
AST = "Y. Gong, Y.-A. Chung, J. Glass, AST: audio spectrogram transformer, Interspeech 2021."
TIMM = "R. Wightman, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models."
PSLA = (
    "Y. Gong, Y.-A. Chung, J. Glass, PSLA: improving audio tagging with pretraining, sampling, labeling, and "
    "aggregation, IEEE/ACM TASLP 2021."
)
EFFICIENTAT = (
    "F. Schmid et al., Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation, ICASSP 2023."
)
PANNS = (
    "Q. Kong et al., PANNs: large-scale pretrained audio neural networks for audio pattern recognition, IEEE/ACM TASLP "
    "28, 2880-2894, 2020."
)
YAMNET = "M. Plakal, D. Ellis, YAMNet, https://github.com/tensorflow/models/tree/master/research/audioset/yamnet, 2019."
VGGISH = "S. Hershey et al., CNN architectures for large-scale audio classification, ICASSP 2017."
OPENL3 = (
    "J. Cramer, H.-H. Wu, J. Salamon, J. P. Bello, Look, listen, and learn more: design choices for deep audio "
    "embeddings, ICASSP 2019."
)
EDGEL3 = (
    "S. Kumari, D. Roy, M. Cartwright, J. P. Bello, A. Arora, EdgeL3: compressing L3-Net for mote-scale urban noise "
    "monitoring, PAISE Workshop 2019."
)
BEATS = "S. Chen et al., BEATs: audio pre-training with acoustic tokenizers, ICML 2023."
SOUNDNET = (
    "Y. Aytar, C. Vondrick, A. Torralba, SoundNet: learning sound representations from unlabeled video, NIPS 2016."
)
PASE = (
    "S. Pascual et al., Learning problem-agnostic speech representations from multiple self-supervised tasks, "
    "Interspeech 2019. M. Ravanelli et al., Multi-task self-supervised learning for robust speech recognition, ICASSP "
    "2020."
)
BASELINE_2024 = (
    "F. Schmid et al., Data-efficient low-complexity acoustic scene classification in the DCASE 2024 Challenge, DCASE "
    "2024 Workshop."
)

DISTILLATION = "G. Hinton, O. Vinyals, J. Dean, Distilling the knowledge in a neural network, arXiv:1503.02531, 2015."
SIMILARITY = "F. Tung, G. Mori, Similarity-preserving knowledge distillation, ICCV 2019."
FREQ_MIXSTYLE = (
    "B. Kim et al., Domain generalization with relaxed instance frequency-wise normalization for multi-device acoustic "
    "scene classification, Interspeech 2022."
)
IMPULSES = (
    "T. Morocutti et al., Device-robust acoustic scene classification via impulse response augmentation, EUSIPCO 2023."
)
MIXUP = "H. Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018."
FILTER_AUGMENT = "H. Nam et al., FilterAugment: an acoustic environmental data augmentation method, ICASSP 2022."
COMPRESSOR = "D. Giannoulis, M. Massberg, J. D. Reiss, Digital dynamic range compressor design, JAES 60(6), 2012."
AVERAGED_WEIGHTS = "P. Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018."
INTEGERS = (
    "B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only "
    "inference, CVPR 2018."
)
BITS = "Z. Dong et al., HAWQ-V2: Hessian aware trace-weighted quantization of neural networks, NeurIPS 2020."
CALIBRATION = "C. Guo et al., On calibration of modern neural networks, ICML 2017."
SELECTION = "Y. Geifman, R. El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017."
BOOTSTRAP = "B. Efron, R. Tibshirani, An introduction to the bootstrap, 1993."
CODECARBON = "CodeCarbon: estimate and track carbon emissions from machine learning computing, https://codecarbon.io."
